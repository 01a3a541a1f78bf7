# SPDX-License-Identifier: Apache-2.0
"""Reads configuration files, checks options, and loads the backends."""

#: The environment variable with the paths of the configuration files, separated by ``:``.
ENVIRONMENT_VARIABLE = "IMAGEAPI_CONFIG_FILE"
