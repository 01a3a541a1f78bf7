# SPDX-License-Identifier: Apache-2.0
"""The commands ``deactivate`` and ``activate``: whether an image's data is served."""

import argparse

from imageapi.backends.writing import WriteError
from imageapi.commands import arguments, changes
from imageapi.commands.configured import naming, open_backends
from imageapi.commands.sources import interruptible

#: The status that each command sets.
_STATUSES = {"activate": "active", "deactivate": "deactivated"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.add_argument("id", metavar="ID", type=arguments.image_id)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    status = _STATUSES[options.command]
    with open_backends(options) as backends, interruptible(), naming(options.id):
        records = changes.record_writer(backends)
        image = changes.image_of(records, options.id)
        if image.status not in _STATUSES.values() or image.deleted:
            state = "deleted" if image.deleted else image.status
            raise WriteError(f"it is {state}: only active and deactivated images change")
        changes.change(records, options.id, lambda _: {"status": status})
    return 0
