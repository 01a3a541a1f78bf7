# SPDX-License-Identifier: Apache-2.0
"""The configuration that the command line names, and its backends."""

import argparse
import contextlib
from collections.abc import Iterator

from oslo_config import cfg

from imageapi.config import plugins
from imageapi.config.files import files_from_environment, load_config


@contextlib.contextmanager
def open_backends(options: argparse.Namespace) -> Iterator[plugins.Backends]:
    """Load the configured backends, and close them at the end."""
    backends = plugins.load(config_of(options))
    try:
        yield backends
    finally:
        backends.close()


def config_of(options: argparse.Namespace) -> cfg.ConfigOpts:
    """Read the files of ``--config-file``, of the environment, or of the usual paths.

    :raises ConfigurationError: a file cannot be read or parsed.
    """
    return load_config(options.config_file or files_from_environment())
