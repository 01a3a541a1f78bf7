# SPDX-License-Identifier: Apache-2.0
"""The command ``set``: changes the details of an image, and nothing else in its record."""

import argparse
from typing import Any

from imageapi.commands import arguments, changes, details
from imageapi.commands.configured import open_backends


def add_parser(commands: arguments.Commands) -> None:
    """Add the command and its arguments to the command line."""
    parser = commands.add_parser("set", help="change the details of an image")
    parser.add_argument("id", metavar="ID", type=arguments.image_id)
    details.add_arguments(parser, visibility_is_required=False)
    for name, metavar, about in (
        ("property", "K", "remove this property"),
        ("member", "P", "no longer share the image with this project"),
    ):
        parser.add_argument(
            f"--remove-{name}",
            metavar=metavar,
            type=arguments.utf8,
            action="append",
            default=[],
            help=f"{about}; may be repeated",
        )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    with open_backends(options) as backends:
        changes.change(
            changes.record_writer(backends),
            options.id,
            lambda members: _fields(options, members),
            properties=dict(options.property),
            removed_properties=options.remove_property,
        )
    return 0


def _fields(options: argparse.Namespace, members: frozenset[str]) -> dict[str, Any]:
    fields = details.fields_of(options)
    new = (members | set(options.member)) - set(options.remove_member)
    if new != members:
        fields["members"] = sorted(new)
    return fields
