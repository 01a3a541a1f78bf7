# SPDX-License-Identifier: Apache-2.0
"""The configuration that the command line names, and its backends."""

import argparse
import contextlib
from collections.abc import Iterator, Sequence

from oslo_config import cfg

from imageapi.caller import Caller
from imageapi.config import plugins
from imageapi.config.files import files_from_environment, load_config
from imageapi.errors import ConfigurationError, only_backend_errors

#: In whose name the commands ask the backends.
OPERATOR = Caller(is_admin=True)


@contextlib.contextmanager
def open_backends(options: argparse.Namespace) -> Iterator[plugins.Backends]:
    """Load the configured backends, and close them at the end."""
    with backends_of(options.config_file or files_from_environment()) as backends:
        yield backends


@contextlib.contextmanager
def backends_of(files: Sequence[str] | None) -> Iterator[plugins.Backends]:
    """Load the backends of configuration files, and close them at the end."""
    with contextlib.closing(plugins.load(load_config(files))) as backends:
        yield backends


def ids_of(backends: plugins.Backends) -> Iterator[str]:
    """Return the ids of all records.

    :raises ConfigurationError: the registry cannot list them.
    """
    registry = backends.registry
    with only_backend_errors(registry):
        ids = registry.backend.image_ids()
    if ids is None:
        raise ConfigurationError(
            [f"{registry} (driver {registry.driver!r}) cannot list its images: name one"]
        )
    return ids


def config_of(options: argparse.Namespace) -> cfg.ConfigOpts:
    """Read the configuration.

    :raises ConfigurationError: it is refused.
    """
    return load_config(options.config_file or files_from_environment())
