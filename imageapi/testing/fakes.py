# SPDX-License-Identifier: Apache-2.0
"""A registry and a store in memory, also for configurations, and faults on demand."""

import itertools
import threading
from collections.abc import Callable
from urllib.parse import quote, unquote

from oslo_config import cfg

from imageapi.backends.base import Blob, RegistryBackend, StoreBackend
from imageapi.caller import Caller
from imageapi.errors import DataChanged, DataNotFound, ImageNotFound, LocationRefused
from imageapi.image import Image, Location


class MemoryRegistry(RegistryBackend):
    """Knows the images that `put` was given."""

    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        self._images: dict[str, Image] = {}

    def put(self, image: Image) -> None:
        """Add an image, or replace the one of the same id."""
        self._images[image.id] = image

    def remove(self, image_id: str) -> None:
        """Take an image away that is there."""
        del self._images[image_id]

    def get(self, image_id: str, caller: Caller) -> Image:
        try:
            return self._images[image_id]
        except KeyError:
            raise ImageNotFound("no record") from None

    def check(self) -> None:
        pass


class MemoryStore(StoreBackend):
    """Has the data that `put` was given, under ``memory:`` URLs.

    :ivar open_blobs: how many are open and not closed yet.
    :ivar opened: how many were opened in all.
    :ivar fault: called before each chunk with the number of the first byte
        that it would hold; may raise, or return bytes to give instead: empty
        ones end the data early.
    """

    schemes = frozenset({"memory"})

    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        self._chunk_size: int = conf.imageapi.chunk_size
        self._data: dict[str, tuple[bytes, str]] = {}
        self._versions = itertools.count(1)
        self._lock = threading.Lock()
        self.open_blobs = 0
        self.opened = 0
        self.fault: Callable[[int], bytes | None] | None = None

    def put(self, image_id: str, data: bytes) -> Location:
        """Add data, or replace it as a new version."""
        self._data[image_id] = data, str(next(self._versions))
        return self.locate(image_id)

    def remove(self, image_id: str) -> None:
        """Take data away that is there; what is being read of it goes on."""
        del self._data[image_id]

    def locate(self, image_id: str) -> Location:
        return Location("memory:" + quote(image_id, safe=""))

    def open(
        self,
        location: Location,
        *,
        start: int = 0,
        stop: int | None = None,
        version: str | None = None,
        caller: Caller,
    ) -> Blob:
        if location.scheme not in self.schemes:
            raise LocationRefused("not a memory: URL")
        try:
            data, current = self._data[unquote(location.url.partition(":")[2])]
        except KeyError:
            raise DataNotFound("nothing was put there") from None
        if version is not None and version != current:
            raise DataChanged("other data was put there")
        return _MemoryBlob(self, data, current, start, stop)

    def check(self) -> None:
        pass

    def count(self, opened: int, change: int) -> None:
        with self._lock:
            self.opened += opened
            self.open_blobs += change

    @property
    def chunk_size(self) -> int:
        return self._chunk_size


class _MemoryBlob(Blob):
    def __init__(
        self, store: MemoryStore, data: bytes, version: str, start: int, stop: int | None
    ) -> None:
        self.total_size = len(data)
        self.version = version
        self._store = store
        self._data = data
        self._position = start
        self._stop = len(data) if stop is None else min(stop, len(data))
        self._closed = False
        store.count(1, 1)

    def __next__(self) -> bytes:
        if self._closed:
            raise StopIteration
        if self._store.fault is not None:
            instead = self._store.fault(self._position)
            if instead is not None:
                return self._given(instead)
        stop = min(self._position + self._store.chunk_size, self._stop)
        return self._given(self._data[self._position : stop])

    def _given(self, chunk: bytes) -> bytes:
        if not chunk:
            raise StopIteration
        self._position += len(chunk)
        return chunk

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._store.count(0, -1)
