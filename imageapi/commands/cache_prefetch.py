# SPDX-License-Identifier: Apache-2.0
"""The command ``cache prefetch``: fills the cache before the first download."""

import argparse
import contextlib
from collections.abc import Generator
from typing import TypeVar

from oslo_config import cfg

from imageapi.cache.settings import CacheSettings
from imageapi.commands import arguments
from imageapi.commands.configured import cache_of, config_of, operator_with_token
from imageapi.commands.import_images import for_each
from imageapi.commands.sources import progress_bar
from imageapi.config import plugins
from imageapi.config.options import GROUP
from imageapi.config.plugins import Backends
from imageapi.download.data_cache import CachedLocation
from imageapi.download.opener import Opened, Opener
from imageapi.download.requested_data import DownloadRequest
from imageapi.download.store_choice import data_locations_of
from imageapi.errors import ImageAPIError, only_backend_errors
from imageapi.image import Image

R = TypeVar("R")


def add_parser(commands: arguments.Commands) -> None:
    """Add the command and its arguments to the command line."""
    parser = commands.add_parser(
        "prefetch",
        help="put the data of images into the cache",
        description="Fetches the data as a download does, and ends when it is complete and"
        " verified. The exit status is 1 if the data of an image is not in the cache then. The"
        " token in OS_TOKEN is sent if the configuration has auth = caller.",
    )
    parser.add_argument("ids", metavar="ID", nargs="+", type=arguments.image_id)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    conf = config_of(options)
    with contextlib.closing(plugins.load(conf)) as backends:
        prefetching = _Prefetching(conf, backends, cache_of(backends))
        with contextlib.closing(prefetching.opener):
            return for_each(options.ids, prefetching.prefetch)


class _Prefetching:
    """Puts the data of images into the cache.

    :ivar opener: opens data as for a download.  The owner of this object closes it.
    """

    def __init__(self, conf: cfg.ConfigOpts, backends: Backends, settings: CacheSettings) -> None:
        core = conf[GROUP]
        self.opener = Opener(
            core.verify_checksum, core.resume_attempts, core.unsafe_images, settings
        )
        self._backends = backends
        self._settings = settings
        self._caller = operator_with_token()

    def prefetch(self, image_id: str) -> str:
        """Put the data of an image into the cache; return what to print.

        :raises ImageAPIError: the data is not in the cache.
        """
        registry = self._backends.registry
        with only_backend_errors(registry):
            image = registry.backend.get_newest(image_id, self._caller)
        if not image.is_active:
            status = "deleted" if image.deleted else image.status
            raise ImageAPIError(f"its status is {status}: only active images can be downloaded")
        if image.size == 0:
            return "has no data: there is nothing to fetch"
        request = DownloadRequest(image, None, may_continue=False, caller=self._caller)
        locations = data_locations_of(image, self._backends.stores)
        opened = _result_of(self.opener.open(request, locations))
        with contextlib.closing(opened.body):
            return self._keep(image, opened)

    def _keep(self, image: Image, opened: Opened) -> str:
        """Wait until the data is complete in the cache; return what to print.

        :raises ImageAPIError: it is not kept.
        """
        location = opened.location
        if not isinstance(location, CachedLocation):
            raise ImageAPIError(_why_not_kept(image, location.store.name, self._settings))
        if opened.cache == "hit":
            return "is in the cache already"
        if opened.cache == "miss":
            if location.cache.wait_until_kept(location):
                return "is in the cache now"
            self._check_room(location)
            # There is room, so the fill has failed already: reading shows why.
        with progress_bar(image.id, image.size) as bar:
            for chunk in opened.body:
                bar.update(len(chunk))
        if not location.cache.wait_until_kept(location):
            raise ImageAPIError("its data could be read, but is not kept: the log says why")
        return "is in the cache now"

    def _check_room(self, location: CachedLocation) -> None:
        """Check that data can be filled.

        :raises ImageAPIError: it cannot.
        """
        folder = self._settings.folder
        folder.check()
        try:
            filling = folder.fill(location.name)
        except OSError as error:
            raise ImageAPIError(f"{folder.directory}: {error.strerror}") from None
        if filling is None:
            raise ImageAPIError(
                f"its {location.image.size} bytes do not fit: raise max_size in [imageapi_cache] or"
                " lower min_free, or repeat this when less data in the cache is being read"
            )
        filling.discard()


def _result_of(steps: Generator[object, None, R]) -> R:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: R = end.value
            return result


def _why_not_kept(image: Image, store: str, settings: CacheSettings) -> str:
    if store not in settings.stores:
        return f"data of the store {store!r} is not kept: name it in stores of [imageapi_cache]"
    if image.size is None:
        return "its data is not kept, because its record has no size"
    return "its data is not kept, because its record has no valid hash of it"
