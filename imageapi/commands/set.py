# SPDX-License-Identifier: Apache-2.0
"""The command ``set``: changes the details of an image, and nothing else in its record."""

import argparse
from typing import Any

from imageapi.backends.writing import WriteError
from imageapi.commands import arguments, changes, details
from imageapi.commands.configured import naming, open_backends
from imageapi.commands.sources import interruptible


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
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
    parser.set_defaults(run=lambda options: _run(options, parser))


def _run(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    given = (options.property, options.remove_property, options.member, options.remove_member)
    if not details.fields_of(options) and not any(given):
        parser.error("name something to change")
    with open_backends(options) as backends, interruptible(), naming(options.id):
        records = changes.record_writer(backends)
        changes.change(
            records,
            options.id,
            lambda members: _fields(options, members),
            properties=dict(options.property),
            removed_properties=options.remove_property,
        )
        details.warn_of_hidden(changes.image_of(records, options.id))
    return 0


def _fields(options: argparse.Namespace, members: frozenset[str]) -> dict[str, Any]:
    fields = details.fields_of(options)
    for member in set(options.remove_member) - members:
        raise WriteError(f"project {member!r} is no member")
    new = (members | set(options.member)) - set(options.remove_member)
    if new != members:
        fields["members"] = sorted(new)
    return fields
