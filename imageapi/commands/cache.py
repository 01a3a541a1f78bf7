# SPDX-License-Identifier: Apache-2.0
"""The command ``cache``: shows, fills and empties the image cache of this host."""

import argparse
from collections.abc import Sequence

from imageapi.cache.contents import Entry
from imageapi.commands import arguments, cache_list, cache_prefetch, cache_remove, cache_verify
from imageapi.commands.configured import open_cache
from imageapi.commands.terminal import tell


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the sub-commands and their arguments to the command's parser."""
    parser.description = (
        "Works on the folder of the cache, also while services use it. Run it as the"
        " user of the service, or as root."
    )
    subcommands = parser.add_subparsers(required=True, metavar="COMMAND")
    cache_list.add_parser(subcommands)
    cache_prefetch.add_parser(subcommands)
    cache_remove.add_parser(subcommands)
    prune = subcommands.add_parser(
        "prune",
        help="remove what nobody will complete, and data beyond max_size and min_free",
    )
    prune.set_defaults(run=_prune)
    clear = subcommands.add_parser(
        "clear",
        help="remove all data, except data that is being filled",
        description="Downloads that read the data are not affected.",
    )
    clear.set_defaults(run=_clear)
    cache_verify.add_parser(subcommands)
    for one in subcommands.choices.values():
        arguments.add_config_file(one)


def _prune(options: argparse.Namespace) -> int:
    with open_cache(options) as (_, settings):
        unfinished = [entry for entry in settings.folder.entries() if not entry.is_complete]
        removed = settings.folder.prune()
        left = {entry.name for entry in settings.folder.entries()}
    for entry in unfinished:
        if entry.name not in left and entry not in removed:
            tell(f"removed: {entry.name}, which nobody was filling any more")
    _tell_removed(removed)
    return 0


def _clear(options: argparse.Namespace) -> int:
    with open_cache(options) as (_, settings):
        entries = settings.folder.entries()
        removed = [entry for entry in entries if settings.folder.remove(entry)]
        # What is left of removed data, such as a signature without its data.
        settings.folder.prune()
    _tell_removed(removed)
    for entry in entries:
        if entry not in removed:
            tell(f"kept: {entry.name}, which is being filled")
    return 0


def _tell_removed(entries: Sequence[Entry]) -> None:
    for entry in entries:
        tell(f"removed: {entry.name}")
    size = sum(entry.size for entry in entries)
    tell(f"files removed: {len(entries)}, bytes: {size}")
