# SPDX-License-Identifier: Apache-2.0
"""Configuration files -> a ConfigOpts, for those who have none of their own."""

import os
from collections.abc import Sequence

from oslo_config import cfg

from imageapi.errors import ConfigurationError

PROJECT = "imageapi"

ENVIRONMENT_VARIABLE = "IMAGEAPI_CONFIG_FILE"


def load_config(files: Sequence[str] | None = None) -> cfg.ConfigOpts:
    """Read configuration files into a ConfigOpts that nobody else has.

    :param files: paths; what a later file says holds.  None for oslo.config's
        usual places, such as /etc/imageapi/imageapi.conf, where a file need
        not exist.
    :raises ConfigurationError: a file cannot be read or parsed.
    """
    conf = cfg.ConfigOpts()
    try:
        if files is None:
            conf([], project=PROJECT)
        else:
            conf([], project=PROJECT, default_config_files=list(files), default_config_dirs=[])
    except cfg.Error as error:
        raise ConfigurationError([str(error).replace("\n", " ")]) from None
    return conf


def files_from_environment() -> list[str] | None:
    """The paths in IMAGEAPI_CONFIG_FILE, separated by ``:``; None where it names none."""
    files = [path for path in os.environ.get(ENVIRONMENT_VARIABLE, "").split(":") if path]
    return files or None
