# SPDX-License-Identifier: Apache-2.0
"""The command ``serve``."""

import argparse

from imageapi.asgi.application import THREADS, Application
from imageapi.commands import arguments
from imageapi.commands.configured import config_of
from imageapi.errors import ImageAPIError


def add_parser(commands: arguments.Commands) -> None:
    serve = commands.add_parser("serve", help="serve the configured images with gunicorn")
    serve.add_argument("--host", default="127.0.0.1", help="address (%(default)s)")
    serve.add_argument("--port", type=arguments.port, default=9292, help="port (%(default)s)")
    serve.add_argument(
        "--workers", type=arguments.positive, default=1, help="processes (%(default)s)"
    )
    serve.add_argument(
        "--threads",
        type=arguments.positive,
        default=THREADS,
        help="threads of each process that read data; a slow client occupies none (%(default)s)",
    )
    serve.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    try:
        from imageapi.commands.server import Server, settings_for
    except ImportError:
        raise ImageAPIError("serve needs gunicorn: pip install 'imageapi[server]'") from None

    settings = settings_for(options.host, options.port, options.workers)
    Server(lambda: Application(config_of(options), threads=options.threads), settings).run()
    return 0
