# SPDX-License-Identifier: Apache-2.0
"""The command ``serve``."""

import argparse
import logging
from contextlib import ExitStack
from functools import partial

from oslo_config import cfg

from imageapi.commands import arguments, logs, made_up_caller
from imageapi.commands.access_log import AccessLog
from imageapi.commands.configured import config_of
from imageapi.commands.metrics_folder import MetricsFolder
from imageapi.commands.serve_settings import ServeSettings
from imageapi.commands.served import Served
from imageapi.commands.start_checks import log_failing, refuse_unusable_addresses
from imageapi.config import plugins
from imageapi.config.serve_options import GROUP
from imageapi.errors import ConfigurationError, ImageAPIError

LOG = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.description = (
        "A flag wins over the option in [imageapi_serve]: --workers and --threads over"
        " the options of these names, and --host and --port over bind."
    )
    parser.add_argument("--host", metavar="A", help="the address to listen on (127.0.0.1)")
    parser.add_argument("--port", metavar="P", type=arguments.port, help="and its port (9292)")
    parser.add_argument("--workers", metavar="N", type=arguments.positive, help="processes (1)")
    parser.add_argument(
        "--threads",
        metavar="N",
        type=arguments.positive,
        help="threads of each process that read data; a slow client occupies none (32)",
    )
    made_up_caller.add_arguments(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    try:
        from imageapi.commands.server import Server
    except ImportError:
        raise ImageAPIError("serve needs gunicorn: pip install 'imageapi[server]'") from None

    options.bind = _bind_of(options)
    with ExitStack() as stack:
        conf = config_of(options)
        settings = _settings(conf, options)
        if made_up_caller.caller_of(options, ()) is not None:
            made_up_caller.refuse_other_machines(settings.bind)
        refuse_unusable_addresses(settings.bind, "--host and --port, or [imageapi_serve] bind")
        if settings.metrics_bind:
            refuse_unusable_addresses([settings.metrics_bind], "[imageapi_serve] metrics_bind")
        metrics = MetricsFolder() if settings.metrics_bind else None
        if metrics is not None:
            stack.callback(metrics.close)
        served = _build(conf, settings, options)
        _configure_logs(settings, debug=options.debug)
        made_up_caller.warn_of(served.caller)
        _warn_of_overruled_addresses(conf, options)
        log_failing(served.backends)
        Server(served, partial(_build_again, options, settings, metrics), settings).run()
    return 0


def _settings(conf: cfg.ConfigOpts, options: argparse.Namespace) -> ServeSettings:
    try:
        return ServeSettings.of(conf, options)
    except (ValueError, RecursionError, cfg.Error):
        # A value is unusable: this reports it, with all other problems.
        plugins.load(conf).close()
        raise


def _bind_of(options: argparse.Namespace) -> list[str] | None:
    if options.host is None and options.port is None:
        return None
    host, port = options.host or "127.0.0.1", options.port or 9292
    return [f"[{host}]:{port}" if ":" in host else f"{host}:{port}"]


def _warn_of_overruled_addresses(conf: cfg.ConfigOpts, options: argparse.Namespace) -> None:
    """Warn if the flags and a file name different addresses: the flags win."""
    found = conf.get_location("bind", GROUP)
    if options.bind is None or found is None or found.location is not cfg.Locations.user:
        return
    in_file = conf[GROUP].bind
    if sorted(in_file) != sorted(options.bind):
        flags = [f"--{name}" for name in ("host", "port") if getattr(options, name) is not None]
        LOG.warning(
            "listens at %s because of %s; [%s] bind = %s in %s has no effect",
            *(", ".join(options.bind), " and ".join(flags)),
            *(GROUP, ", ".join(in_file), found.detail),
        )


def _configure_logs(settings: ServeSettings, *, debug: bool) -> None:
    level = logging.DEBUG if debug else logging.INFO
    try:
        logs.configure(settings.log_file, settings.access_log, settings.log_format, level=level)
    except OSError as error:
        problem = f"[imageapi_serve]: {error.filename} cannot be written: {error.strerror}"
        raise ConfigurationError([problem]) from None


def _build(conf: cfg.ConfigOpts, settings: ServeSettings, options: argparse.Namespace) -> Served:
    events = [AccessLog()] if settings.access_log else []
    served = Served(conf, settings, events)
    served.caller = made_up_caller.caller_of(options, served.backends.admin_roles)
    return served


def _build_again(
    options: argparse.Namespace, settings: ServeSettings, metrics: MetricsFolder | None
) -> Served:
    """Read the configuration again; of [imageapi_serve] only the files of TLS count."""
    conf = config_of(options)
    if _settings(conf, options) != settings:
        LOG.warning("[imageapi_serve] has changed: restart the service to apply this section")
    served = _build(conf, settings, options)
    made_up_caller.warn_of(served.caller)
    if metrics is not None:
        metrics.mend()
    log_failing(served.backends)
    return served
