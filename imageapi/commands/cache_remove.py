# SPDX-License-Identifier: Apache-2.0
"""The command ``cache remove``."""

import argparse

from imageapi.cache.folder import CacheFolder
from imageapi.commands import arguments
from imageapi.commands.configured import open_cache, operator_with_token
from imageapi.commands.import_images import for_each
from imageapi.config.plugins import Backends
from imageapi.download.data_cache import cache_name_of
from imageapi.download.store_choice import DataLocation, data_locations_of
from imageapi.errors import ImageAPIError, only_backend_errors
from imageapi.image import Image


def add_parser(commands: arguments.Commands) -> None:
    """Add the command and its arguments to the command line."""
    parser = commands.add_parser(
        "remove",
        help="remove the data of images from the cache",
        description="Other images with the same data share it. The next download fetches it again.",
    )
    parser.add_argument("ids", metavar="ID", nargs="+", type=arguments.image_id)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    with open_cache(options) as (backends, settings):
        return for_each(options.ids, lambda one: _remove(one, backends, settings.folder))


def _remove(image_id: str, backends: Backends, folder: CacheFolder) -> str:
    """Remove the data that the record of an image names; return what to print.

    :raises ImageAPIError: there is no record, or the data is being filled.
    """
    registry = backends.registry
    with only_backend_errors(registry):
        image = registry.backend.get_newest(image_id, operator_with_token())
    names = _names_of(image, backends)
    entries = [entry for entry in folder.entries() if entry.name in names]
    removed = [entry for entry in entries if folder.remove(entry)]
    if len(removed) < len(entries):
        raise ImageAPIError(
            "its data is being filled, and is not removed: repeat this when the download that"
            " fills it has ended"
        )
    return "removed" if removed else "is not in the cache"


def _names_of(image: Image, backends: Backends) -> set[str | None]:
    locations = data_locations_of(image, backends.stores)
    return {cache_name_of(one, image) for one in locations if isinstance(one, DataLocation)}
