# SPDX-License-Identifier: Apache-2.0
"""The command ``list``."""

import argparse
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace

from imageapi.backends.base import RegistryBackend
from imageapi.backends.listing import ListQuery
from imageapi.caller import Caller
from imageapi.commands import filters
from imageapi.commands.configured import open_backends, operator_with_token
from imageapi.commands.details import described
from imageapi.commands.listed import Unreadable, images_of
from imageapi.commands.terminal import log_bug, tell
from imageapi.config.plugins import Loaded
from imageapi.errors import BackendError, ImageAPIError, only_backend_errors
from imageapi.image import Image

# The names of the columns, and the least width of each.  Only the size is right-aligned.
_HEADER = ("ID", "STATUS", "VISIBILITY", "SIZE", "NAME")
_WIDTHS = (36, 11, 10, 13, 0)
_RIGHT = 3

# How many lines are held, so that their columns can be aligned.
_LINES = 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.description = (
        "Prints every image, or those that all filters choose. A record that cannot"
        " be read is named on standard error, and the exit status is 1."
    )
    parser.add_argument("--json", action="store_true", help="one JSON document for each line")
    parser.add_argument(
        "--deleted",
        action="store_true",
        help="list deleted images too; --changes-since does so by itself",
    )
    filters.add_pages(parser)
    filters.add_filters(parser, "They are those of the API's lists. All must hold.")
    parser.set_defaults(run=lambda options: _run(options, parser))


def _run(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    choice = filters.choice_of(options, parser)
    given = (*choice.given, *(["--deleted"] if options.deleted else []))
    unreadable = Unreadable()
    caller = operator_with_token()
    with open_backends(options) as backends:
        filters.refuse_choice(backends.registry, given)
        query = replace(choice.query, shows_deleted=options.deleted or choice.query.shows_deleted)
        if choice.marker is not None:
            query = _after(query, backends.registry, choice.marker, caller)
        is_whole = choice.limit is None and choice.marker is None
        found = images_of(backends.registry, query, caller, unreadable, is_whole=is_whole)
        with closing(found):
            images = itertools.islice(found, choice.limit)
            if options.json:
                for image in images:
                    print(json.dumps(described(image)))
            else:
                _print_table(images)
    return unreadable.status


def _after(
    query: ListQuery, registry: Loaded[RegistryBackend], marker: str, caller: Caller
) -> ListQuery:
    try:
        with only_backend_errors(registry):
            return replace(query, after=registry.backend.get_newest(marker, caller))
    except BackendError as error:
        log_bug(error)
        raise ImageAPIError(f"--marker {marker}: {error}") from None


def _print_table(images: Iterable[Image]) -> None:
    widths = list(_WIDTHS)
    header = [_HEADER]
    for rows in _batches(map(_cells, images)):
        lines = [*header, *rows]
        # The rest of a long list is aligned as its widest line so far.
        columns = zip(*lines, strict=True)
        widths = [
            max(least, *map(len, column)) for least, column in zip(widths, columns, strict=True)
        ]
        for line in lines:
            tell("  ".join(_padded(line, widths)).rstrip())
        header = []


def _batches(rows: Iterable[Sequence[str]]) -> Iterator[list[Sequence[str]]]:
    """Yield the rows in groups; those before an error too."""
    batch: list[Sequence[str]] = []
    try:
        for row in rows:
            batch.append(row)
            if len(batch) == _LINES:
                yield batch
                batch = []
    except ImageAPIError:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def _cells(image: Image) -> Sequence[str]:
    visibility = "public" if image.is_public else "private"
    size = "-" if image.size is None else str(image.size)
    return image.id, image.status, visibility, size, image.name or "-"


def _padded(line: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    for number, (cell, width) in enumerate(zip(line, widths, strict=True)):
        yield cell.rjust(width) if number == _RIGHT else cell.ljust(width)
