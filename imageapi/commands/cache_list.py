# SPDX-License-Identifier: Apache-2.0
"""The command ``cache list``."""

import argparse
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from imageapi.cache.contents import Entry
from imageapi.commands import arguments
from imageapi.commands.configured import open_cache
from imageapi.commands.terminal import tell

# The names of the columns, and the width of each.  The name is as long as it is.
_LINE = "{:>15}  {:20}  {:8}  {}"


def add_parser(commands: arguments.Commands) -> None:
    """Add the command and its arguments to the command line."""
    parser = commands.add_parser(
        "list",
        help="list the data in the cache; what was used last is at the end",
        description="The name of data has the hash, its value and the size. The last use is"
        " exact to a minute. A size is that of the complete data, in bytes.",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document for each line")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    with open_cache(options) as (_, settings):
        entries = settings.folder.entries()
    if options.json:
        for entry in entries:
            print(json.dumps(_fields(entry)))
    else:
        _print_table(entries)
    return 0


def _fields(entry: Entry) -> Mapping[str, object]:
    last_use = None
    if entry.last_use:
        last_use = f"{datetime.fromtimestamp(entry.last_use, UTC):%Y-%m-%dT%H:%M:%SZ}"
    return {
        "size": entry.size,
        "last_use": last_use,
        "state": "complete" if entry.is_complete else "filling",
        "name": entry.name,
    }


def _print_table(entries: Sequence[Entry]) -> None:
    tell(_LINE.format("SIZE", "LAST USE", "STATE", "NAME"))
    for entry in entries:
        tell(_LINE.format(*(value or "-" for value in _fields(entry).values())))
