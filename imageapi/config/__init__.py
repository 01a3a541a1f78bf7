# SPDX-License-Identifier: Apache-2.0
"""Reads configuration files, checks options, and loads the backends."""
