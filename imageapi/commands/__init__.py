# SPDX-License-Identifier: Apache-2.0
"""The command line; each larger command has its own module."""
