# SPDX-License-Identifier: Apache-2.0
"""The command ``replace``: gives an image other data."""

import argparse

from imageapi.commands import arguments, changes
from imageapi.commands.configured import naming, open_backends
from imageapi.commands.sources import interruptible, opened, with_progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.add_argument("id", metavar="ID", type=arguments.image_id)
    parser.add_argument("file", metavar="FILE", help="the new data; - for standard input")
    parser.add_argument("--store", metavar="NAME", help="the store of the data; default: the first")
    parser.add_argument(
        "--checksum",
        metavar="HEX",
        type=arguments.checksum,
        help="the MD5 or SHA-512 that the data must have",
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    with (
        open_backends(options) as backends,
        interruptible(),
        opened(options.file) as source,
        with_progress(source) as data,
    ):
        writers = changes.writers_of(backends, options.store)
        with naming(options.id):
            changes.replace_data(writers, backends, options.id, data, options.checksum)
    return 0
