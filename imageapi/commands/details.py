# SPDX-License-Identifier: Apache-2.0
"""The arguments with the details of an image, which ``add`` and ``set`` share."""

import argparse
from typing import Any

from imageapi.commands import arguments
from imageapi.commands.terminal import complain
from imageapi.document import record
from imageapi.image import Image


def add_arguments(parser: argparse.ArgumentParser, *, visibility_is_required: bool) -> None:
    """Add the arguments; `fields_of` reads them."""
    parser.add_argument("--name", type=arguments.utf8)
    parser.add_argument(
        "--disk-format",
        metavar="F",
        type=arguments.disk_format,
        help=f"one of {', '.join(arguments.DISK_FORMATS)}",
    )
    parser.add_argument(
        "--container-format",
        metavar="F",
        type=arguments.container_format,
        help=f"one of {', '.join(arguments.CONTAINER_FORMATS)}",
    )
    for name, metavar, about in (("disk", "G", "disk, in GiB"), ("ram", "M", "RAM, in MiB")):
        parser.add_argument(
            f"--min-{name}", metavar=metavar, type=arguments.count, help=f"minimum {about}"
        )
    visibility = parser.add_mutually_exclusive_group(required=visibility_is_required)
    visibility.add_argument(
        "--public", dest="is_public", action="store_true", default=None, help="for everybody"
    )
    visibility.add_argument(
        "--private",
        dest="is_public",
        action="store_false",
        default=None,
        help="only for its owner, its members and admins",
    )
    parser.add_argument("--owner", metavar="P", type=arguments.utf8, help="the owning project's id")
    parser.add_argument(
        "--protected",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="whether remove and replace refuse it",
    )
    parser.add_argument(
        "--member",
        metavar="P",
        type=arguments.utf8,
        action="append",
        default=[],
        help="the id of a project that shares the image; may be repeated",
    )
    parser.add_argument(
        "--property", metavar="K=V", type=arguments.key_and_value, action="append", default=[]
    )


def fields_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return the given values, by the names of an image's fields."""
    names = (
        *("name", "disk_format", "container_format", "min_disk", "min_ram"),
        *("is_public", "owner", "protected"),
    )
    given = {name: getattr(options, name) for name in names}
    return {name: value for name, value in given.items() if value is not None}


def described(image: Image) -> dict[str, Any]:
    """Return the record of an image without its locations, which may hold credentials."""
    fields = record(image)
    fields.pop("locations", None)
    return fields


def warn_of_hidden(image: Image) -> None:
    """Warn the operator of an image that only admins can see."""
    if not image.is_public and image.owner is None and not image.members:
        complain("warning: only admins can see it: a private image needs --owner or --member")
