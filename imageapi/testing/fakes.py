# SPDX-License-Identifier: Apache-2.0
"""A registry and two stores in memory, one of which fails on demand.

In the tests of an application, use the drivers ``memory`` and ``failing`` in the
configuration, and get the objects from ``api.backends``.  See docs/embedding.md,
In your own tests.
"""

import itertools
import threading
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from oslo_config import cfg

from imageapi.backends.base import Blob, RegistryBackend, StoreBackend
from imageapi.backends.listing import ListQuery
from imageapi.caller import Caller
from imageapi.errors import DataChanged, DataNotFound, ImageNotFound, LocationRefused
from imageapi.image import Image, Location


class MemoryRegistry(RegistryBackend):
    """Has the images that were added by `put`."""

    can_list = True

    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        self._images: dict[str, Image] = {}

    def put(self, image: Image) -> None:
        """Add an image, or replace the one with the same id."""
        self._images[image.id] = image

    def remove(self, image_id: str) -> None:
        """Remove an image; it must exist."""
        del self._images[image_id]

    def get(self, image_id: str, caller: Caller) -> Image:
        try:
            return self._images[image_id]
        except KeyError:
            raise ImageNotFound("no record") from None

    def list(self, query: ListQuery, caller: Caller) -> Generator[Image, None, None]:
        images = filter(query.matching(), tuple(self._images.values()))
        for image in sorted(images, key=query.position, reverse=query.descending):
            if query.is_after(query.position(image)):
                yield image

    def check(self) -> str:
        return f"{len(self._images)} records"


class MemoryStore(StoreBackend):
    """Has the data that was added by `put`, at ``memory:`` URLs.

    :ivar open_blobs: the number of Blobs that are not closed yet.
    :ivar opened: the number of Blobs that were opened in total.
    """

    schemes = frozenset({"memory"})

    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        self._chunk_size: int = conf.imageapi.chunk_size
        self._data: dict[str, tuple[bytes, str]] = {}
        self._versions = itertools.count(1)
        self._lock = threading.Lock()
        self.open_blobs = 0
        self.opened = 0

    def put(self, image_id: str, data: bytes) -> Location:
        """Add data, or replace it as a new version."""
        self._data[image_id] = data, str(next(self._versions))
        return self.locate(image_id)

    def remove(self, image_id: str) -> None:
        """Remove data, which must exist; open Blobs can still read it."""
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
            raise DataNotFound("no data was put at this location") from None
        if version is not None and version != current:
            raise DataChanged("the data at this location was replaced")
        end = len(data) if stop is None else min(stop, len(data))
        return _MemoryBlob(self, data, current, start, end)

    def check(self) -> str:
        return f"data of {len(self._data)} images"

    def chunk(self, data: bytes, start: int, end: int) -> bytes:
        """Return the next chunk of a Blob's data; empty at its end."""
        return data[start : min(start + self._chunk_size, end)]

    def count(self, opened: int, change: int) -> None:
        """Count that a Blob was opened or closed."""
        with self._lock:
            self.opened += opened
            self.open_blobs += change


class _MemoryBlob(Blob):
    def __init__(self, store: MemoryStore, data: bytes, version: str, start: int, end: int) -> None:
        self.total_size = len(data)
        self.version = version
        self._store = store
        self._data = data
        self._position = start
        self._end = end
        self._closed = False
        store.count(1, 1)

    def __next__(self) -> bytes:
        if self._closed:
            raise StopIteration
        chunk = self._store.chunk(self._data, self._position, self._end)
        if not chunk:
            raise StopIteration
        self._position += len(chunk)
        return chunk

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._store.count(0, -1)


@dataclass
class _Fault:
    """A planned fault, and how often it still has to happen."""

    does: Exception | bytes
    at: int | None
    times: int


class FailingStore(MemoryStore):
    """A MemoryStore that fails on demand, at an exact byte."""

    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        super().__init__(conf, group)
        self._faults: list[_Fault] = []

    def fail(self, error: Exception, *, at: int | None = None, times: int = 1) -> None:
        """Make the store raise an error.

        :param error: a `imageapi.errors.BackendError`; any other exception simulates a
            bug.
        :param at: the offset of the byte that is not read: all bytes before it are
            returned first.  None to raise the error in `open`.
        :param times: how often the error is raised.
        """
        self._faults.append(_Fault(error, at, times))

    def give(self, data: bytes, *, at: int, times: int = 1) -> None:
        """Make the store return other bytes than those of the data.

        :param data: the bytes to return; if empty, the data ends there without an error.
        :param at: the offset of the first byte that they replace.  At the end of the
            data, they are surplus bytes.
        :param times: how often they are returned.
        """
        self._faults.append(_Fault(data, at, times))

    def heal(self) -> None:
        """Cancel all planned faults."""
        self._faults.clear()

    def open(self, location: Location, **asked: Any) -> Blob:
        self._due(None)
        return super().open(location, **asked)

    def chunk(self, data: bytes, start: int, end: int) -> bytes:
        instead = self._due(start)
        if instead is not None:
            return instead
        # Stop a chunk before the next fault, so that the fault comes at its byte.
        later = [fault.at for fault in self._faults if fault.at is not None and fault.at > start]
        return super().chunk(data, start, min([end, *later]))

    def _due(self, at: int | None) -> bytes | None:
        """Apply the fault that is planned here: raise its error or return its bytes."""
        with self._lock:
            fault = next((fault for fault in self._faults if fault.at == at), None)
            if fault is None:
                return None
            fault.times -= 1
            if fault.times <= 0:
                self._faults.remove(fault)
        if isinstance(fault.does, Exception):
            # Without the traceback of the previous raise.
            raise fault.does.with_traceback(None)
        return fault.does
