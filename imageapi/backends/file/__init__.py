# SPDX-License-Identifier: Apache-2.0
"""Records and data in folders."""
