# SPDX-License-Identifier: Apache-2.0
"""The configuration that the command line names, and its backends."""

import argparse
import contextlib
import logging
import os
from collections.abc import Iterator, Sequence

from oslo_config import cfg

from imageapi.cache.settings import CacheSettings
from imageapi.caller import Caller
from imageapi.commands.glance_options import refuse_policy, unused
from imageapi.commands.serve_settings import ServeSettings
from imageapi.commands.terminal import log_bug
from imageapi.config import plugins
from imageapi.config.files import USUAL_FILES, files_from_environment, load_config
from imageapi.config.serve_options import GROUP, OPTIONS
from imageapi.errors import BackendError, ConfigurationError, ImageAPIError

LOG = logging.getLogger(__name__)

#: The caller for whom the commands ask the backends.
OPERATOR = Caller(is_admin=True)

# The variable that openstackclient uses too.
_TOKEN_VARIABLE = "OS_TOKEN"  # nosec B105 # noqa: S105 - a name


def _load(files: Sequence[str] | None) -> cfg.ConfigOpts:
    """Read configuration files; the values of [imageapi_serve] are checked too."""
    conf = load_config(files)
    conf.register_opts(OPTIONS, group=GROUP)
    return conf


@contextlib.contextmanager
def open_backends(options: argparse.Namespace) -> Iterator[plugins.Backends]:
    """Load the configured backends, and close them at the end."""
    conf = _load(options.config_file or files_from_environment())
    refuse_policy(conf)
    with contextlib.closing(plugins.load(conf)) as backends:
        yield backends


@contextlib.contextmanager
def open_cache(
    options: argparse.Namespace,
) -> Iterator[tuple[plugins.Backends, CacheSettings]]:
    """Do as `open_backends`, and return the configured cache too.

    :raises ImageAPIError: no cache is configured.
    """
    with open_backends(options) as backends:
        yield backends, cache_of(backends)


def cache_of(backends: plugins.Backends) -> CacheSettings:
    """Return the configured cache.

    :raises ImageAPIError: none is configured.
    """
    if backends.cache is None:
        raise ImageAPIError("no cache is configured: set directory in [imageapi_cache]")
    return backends.cache


@contextlib.contextmanager
def backends_for_serving(
    options: argparse.Namespace,
) -> Iterator[tuple[plugins.Backends, ServeSettings]]:
    """Do as `open_backends`; refuse and log what ``serve`` does of the configuration files."""
    conf = config_of(options)
    with contextlib.closing(plugins.load(conf)) as backends:
        settings = ServeSettings.of(conf, options)
        settings.check_metrics(backends)
        yield backends, settings


@contextlib.contextmanager
def backends_of(files: Sequence[str] | None) -> Iterator[plugins.Backends]:
    """Load the backends of configuration files, and close them at the end."""
    with contextlib.closing(plugins.load(_load(files))) as backends:
        yield backends


def operator_with_token() -> Caller:
    """Return the operator, with the token in OS_TOKEN for an upstream with ``auth = caller``."""
    return Caller(is_admin=True, token=os.environ.get(_TOKEN_VARIABLE) or None)


@contextlib.contextmanager
def naming(image_id: str) -> Iterator[None]:
    """Name the image in the text of an error."""
    try:
        yield
    except ConfigurationError:
        raise
    except ImageAPIError as error:
        if isinstance(error, BackendError):
            log_bug(error)
        raise ImageAPIError(f"image {image_id}: {error}") from None


def config_of(options: argparse.Namespace) -> cfg.ConfigOpts:
    """Read the files of ``--config-file``, of the environment, or of the usual paths.

    Options of Glance that have no effect here are logged, and so is a lack of files.

    :raises ConfigurationError: a file cannot be read or parsed, or has a policy that
        would not apply.
    """
    conf = _load(options.config_file or files_from_environment())
    refuse_policy(conf)
    if not conf.config_file and not conf.config_dir:
        LOG.warning(
            "there is no configuration file, so all options have their defaults: looked for %s;"
            " name another file with --config-file",
            ", ".join(USUAL_FILES),
        )
    for problem in unused(conf):
        LOG.warning(problem)
    return conf
