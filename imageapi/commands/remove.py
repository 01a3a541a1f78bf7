# SPDX-License-Identifier: Apache-2.0
"""The command ``remove``: removes an image's record, and the data that imageapi wrote for it."""

import argparse

from imageapi.commands import arguments, changes
from imageapi.commands.configured import naming, open_backends
from imageapi.commands.sources import interruptible


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.add_argument("id", metavar="ID", type=arguments.image_id)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    with open_backends(options) as backends, interruptible(), naming(options.id):
        changes.remove(changes.record_writer(backends), backends, options.id)
    return 0
