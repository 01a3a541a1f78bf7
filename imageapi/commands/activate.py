# SPDX-License-Identifier: Apache-2.0
"""The commands ``deactivate`` and ``activate``: whether an image's data is served."""

import argparse

from imageapi.backends.writing import WriteError
from imageapi.commands import arguments, changes
from imageapi.commands.configured import naming, open_backends
from imageapi.commands.sources import interruptible

_STATUSES = {"active", "deactivated"}


def add_parser(commands: arguments.Commands) -> None:
    """Add both commands to the command line."""
    for name, status, about in (
        ("deactivate", "deactivated", "serve an image's details, but not its data"),
        ("activate", "active", "serve the data of a deactivated image again"),
    ):
        parser = commands.add_parser(name, help=about)
        parser.add_argument("id", metavar="ID", type=arguments.image_id)
        parser.set_defaults(run=_run, status=status)


def _run(options: argparse.Namespace) -> int:
    with open_backends(options) as backends, interruptible(), naming(options.id):
        records = changes.record_writer(backends)
        image = changes.image_of(records, options.id)
        if image.status not in _STATUSES or image.deleted:
            state = "deleted" if image.deleted else image.status
            raise WriteError(f"it is {state}: only active and deactivated images change")
        changes.change(records, options.id, lambda _: {"status": options.status})
    return 0
