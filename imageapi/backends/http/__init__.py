# SPDX-License-Identifier: Apache-2.0
"""Records and data on a web server."""
