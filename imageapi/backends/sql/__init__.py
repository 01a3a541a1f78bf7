# SPDX-License-Identifier: Apache-2.0
"""Records in a database with Glance's tables; needs SQLAlchemy and a driver."""
