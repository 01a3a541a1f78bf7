# SPDX-License-Identifier: Apache-2.0
"""Configuration files -> a ConfigOpts, for those who have none of their own."""

import os
from collections.abc import Sequence
from typing import Any

from oslo_config import cfg

from imageapi.config.validation import told_by
from imageapi.errors import ConfigurationError

PROJECT = "imageapi"

ENVIRONMENT_VARIABLE = "IMAGEAPI_CONFIG_FILE"


def load_config(files: Sequence[str | os.PathLike[str]] | None = None) -> cfg.ConfigOpts:
    """Read configuration files into a ConfigOpts that nobody else has.

    :param files: paths; what a later file says holds.  None for oslo.config's
        usual places, such as /etc/imageapi/imageapi.conf, where a file need
        not exist. Options do not come from the environment (``OS_IMAGEAPI__...``).
    :raises ConfigurationError: a file cannot be read or parsed.
    """
    if isinstance(files, str):
        raise ConfigurationError([f"load_config() takes a list of paths: write [{files!r}]"])
    conf = cfg.ConfigOpts()
    where: dict[str, Any] = {}
    if files is not None:
        where = {"default_config_files": [os.fspath(path) for path in files]}
        where["default_config_dirs"] = []
    try:
        # The program's name would be that of whatever runs us.
        # From the environment, options would override these files without a word.
        conf([], project=PROJECT, prog=PROJECT, use_env=False, **where)
    except (cfg.Error, OSError, UnicodeDecodeError) as error:
        told = told_by(error)
        raise ConfigurationError([f"the configuration cannot be read: {told}"]) from None
    return conf


def files_from_environment() -> list[str] | None:
    """The paths in IMAGEAPI_CONFIG_FILE, separated by ``:``; None where it names none."""
    return split_paths(os.environ.get(ENVIRONMENT_VARIABLE, "")) or None


def split_paths(text: str) -> list[str]:
    """Paths separated by ``:``."""
    return [path for path in text.split(":") if path]
