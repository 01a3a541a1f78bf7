# SPDX-License-Identifier: Apache-2.0
"""Reads configuration files into a ConfigOpts, for applications that have none."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from oslo_config import cfg

from imageapi.config import ENVIRONMENT_VARIABLE
from imageapi.config.validation import message_of
from imageapi.errors import ConfigurationError
from imageapi.protocol.value_text import not_utf8

PROJECT = "imageapi"

#: Where oslo.config looks for a configuration file; it reads the first that it finds.
USUAL_FILES = (
    "~/.imageapi/imageapi.conf",
    "~/imageapi.conf",
    "/etc/imageapi/imageapi.conf",
    "/etc/imageapi.conf",
)


def load_config(files: Sequence[str | os.PathLike[str]] | None = None) -> cfg.ConfigOpts:
    """Read configuration files into a new ConfigOpts.

    :param files: paths; a value in a later file overrides earlier ones.  None for
        oslo.config's usual paths, such as /etc/imageapi/imageapi.conf, where no file
        needs to exist. Environment variables (``OS_IMAGEAPI__...``) set no options.
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
        # By default, prog would be the name of the program that embeds imageapi.
        # With use_env, environment variables would silently override these files.
        conf([], project=PROJECT, prog=PROJECT, use_env=False, **where)
    except (cfg.Error, OSError, UnicodeDecodeError) as error:
        message = None
        if isinstance(error, UnicodeDecodeError):
            message = _first_not_utf8(_usual_files() if files is None else files)
        message = message or message_of(error)
        raise ConfigurationError([f"the configuration cannot be read: {message}"]) from None
    return conf


def _usual_files() -> Iterator[str | os.PathLike[str]]:
    """Yield the files that oslo.config reads if none are given, in its order."""
    yield from cfg.find_config_files(project=PROJECT, prog=PROJECT)
    for folder in cfg.find_config_dirs(project=PROJECT, prog=PROJECT):
        yield from sorted(Path(folder).glob("*.conf"))


def _first_not_utf8(files: Iterable[str | os.PathLike[str]]) -> str | None:
    """Return the path and the error of the first file that is not UTF-8; None if all are.

    The exception of oslo.config does not name the file, and counts from the block that it
    decoded.
    """
    for path in files:
        try:
            Path(path).read_bytes().decode()
        except UnicodeDecodeError as error:
            return f"{os.fspath(path)}: {not_utf8(error)}"
        except OSError:
            continue  # The file was removed meanwhile.
    return None


def files_from_environment() -> list[str] | None:
    """Return the paths in IMAGEAPI_CONFIG_FILE, separated by ``:``; None if there are none."""
    return split_paths(os.environ.get(ENVIRONMENT_VARIABLE, "")) or None


def split_paths(text: str) -> list[str]:
    """Split a text into paths, at each ``:``."""
    return [path for path in text.split(":") if path]
