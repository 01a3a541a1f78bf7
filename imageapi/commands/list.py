# SPDX-License-Identifier: Apache-2.0
"""The command ``list``."""

import argparse
import json

from imageapi.commands import arguments
from imageapi.commands.configured import OPERATOR, ids_of, open_backends
from imageapi.commands.details import described
from imageapi.commands.terminal import complain, log_bug, tell
from imageapi.errors import BackendError, ImageNotFound, only_backend_errors


def add_parser(commands: arguments.Commands) -> None:
    """Add the command and its arguments to the command line."""
    parser = commands.add_parser("list", help="list all images")
    parser.add_argument("--json", action="store_true", help="one JSON document for each line")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    status = 0
    with open_backends(options) as backends:
        for image_id in ids_of(backends):
            try:
                with only_backend_errors(backends.registry):
                    image = backends.registry.backend.get(image_id, OPERATOR)
            except ImageNotFound:
                continue  # removed meanwhile
            except BackendError as error:
                log_bug(error)
                complain(f"image {image_id}: {error}")
                status = 1
                continue
            if options.json:
                print(json.dumps(described(image)))
            else:
                visibility = "public" if image.is_public else "private"
                size = "-" if image.size is None else image.size
                name = image.name or "-"
                tell(f"{image.id:36}  {image.status:11}  {visibility:7}  {size:>13}  {name}")
    return status
