# SPDX-License-Identifier: Apache-2.0
"""The configuration that the command line names, and its backends."""

import argparse
import contextlib
from collections.abc import Iterator

from oslo_config import cfg

from imageapi.caller import Caller
from imageapi.config import plugins
from imageapi.config.files import files_from_environment, load_config

#: In whose name the commands ask the backends.
OPERATOR = Caller(is_admin=True)


@contextlib.contextmanager
def open_backends(options: argparse.Namespace) -> Iterator[plugins.Backends]:
    """Load the configured backends, and close them at the end."""
    backends = plugins.load(config_of(options))
    try:
        yield backends
    finally:
        backends.close()


def config_of(options: argparse.Namespace) -> cfg.ConfigOpts:
    """Read the configuration.

    :raises ConfigurationError: it is refused.
    """
    return load_config(options.config_file or files_from_environment())
