# SPDX-License-Identifier: Apache-2.0
"""Finds images that refer to other files, before any of their data is sent."""

import logging
from typing import NamedTuple

from imageapi.backends.base import Blob
from imageapi.bounded_cache import BoundedCache
from imageapi.caller import Caller
from imageapi.download.closing import close_blob
from imageapi.download.data_cache import OpenLocation
from imageapi.download.unsafe_formats import FIRST_BYTES, danger_in, may_be_unsafe
from imageapi.errors import (
    BackendError,
    BackendUnavailable,
    RangeNotSupported,
    UnsafeImage,
    only_backend_errors,
)
from imageapi.image import Image, weight_of

LOG = logging.getLogger(__name__)

# About 4,000 versions of data whose URLs have the usual length.
_REMEMBERED_BYTES = 4 * 1024 * 1024

# The memory that the cache itself needs for each entry.
_ENTRY_BYTES = 300


class DataParts:
    """The data at a location, of which parts are read; each in a Blob of its own."""

    def __init__(
        self,
        location: OpenLocation,
        image: Image,
        *,
        version: str | None,
        size: int | None,
        caller: Caller,
        first: bytes = b"",
    ) -> None:
        """Read nothing yet.

        :param version: the version to read; None for any.
        :param size: of the whole, in bytes; None if unknown.
        :param first: the first bytes, as far as they have been read.
        """
        self._location = location
        self._image_id = image.id
        self._version = version
        self._size = size
        self._caller = caller
        self._first = first
        # Without the size, a part may begin after the end, where no store can open it.
        self._can_read_parts = location.store.backend.ranges and size is not None

    def part(self, start: int, stop: int) -> bytes:
        """Return the bytes from ``start`` to before ``stop``; fewer if the data ends.

        :raises BackendError: they cannot be read.
        """
        if self._size is not None:
            stop = min(stop, self._size)
        if start >= stop:
            return b""
        if stop <= len(self._first):
            return self._first[start:stop]
        if self._can_read_parts:
            try:
                blob = self._location.open(start, stop, self._version, self._caller)
                return self._read(blob, stop - start)
            except RangeNotSupported:
                self._can_read_parts = False
        whole = self._location.open(0, None, self._version, self._caller)
        return self._read(whole, stop)[start:]

    def last(self, count: int) -> bytes:
        """Return the last bytes; none if the data is shorter, or only the whole can be read.

        :raises BackendError: they cannot be read.
        """
        if self._size is None or not self._can_read_parts or self._size < count:
            return b""
        return self.part(self._size - count, self._size)

    def _read(self, blob: Blob, count: int) -> bytes:
        data = bytearray()
        try:
            with only_backend_errors(self._location):
                for chunk in blob:
                    data += chunk
                    if len(data) >= count:
                        break
        finally:
            close_blob(blob, self._image_id, self._location)
        # What is missing could be what makes the data unsafe.
        if self._size is not None and len(data) < count:
            raise BackendUnavailable(f"the data ended {count - len(data)} bytes early")
        return bytes(data[:count])


class _Examined(NamedTuple):
    """Which data was examined.

    :ivar checksum: the record's; it distinguishes data that has no version.
    """

    store: str
    url: str
    version: str | None
    checksum: str | None


class UnsafeImages:
    """Logs or refuses images that refer to other files.  Thread-safe."""

    def __init__(self, mode: str) -> None:
        """Remember nothing yet; the mode is the value of the option ``unsafe_images``."""
        self._mode = mode
        self._known: BoundedCache[_Examined, str] = BoundedCache(_REMEMBERED_BYTES)

    def check(
        self,
        location: OpenLocation,
        image: Image,
        blob: Blob,
        *,
        size: int | None,
        caller: Caller,
        first: bytes = b"",
    ) -> None:
        """Examine data, unless that was done before; log or refuse it if it is unsafe.

        :param blob: the data that the response sends.  Nothing is read from it here.
        :param size: of the whole, in bytes; None if unknown.
        :param first: the first bytes of the data, as far as they have been read.
        :raises UnsafeImage: the data is unsafe, and the mode is ``refuse``.
        :raises BackendError: the data cannot be examined, and the mode is ``refuse``.
        """
        if self._mode == "serve" or (len(first) >= FIRST_BYTES and not may_be_unsafe(first)):
            return
        examined = _Examined(
            location.store.name, location.recorded.url, blob.version, image.checksum
        )
        danger = self._known.get(examined) if self._remembers(blob) else None
        is_new = danger is None
        if danger is None:
            parts = DataParts(
                location, image, version=blob.version, size=size, caller=caller, first=first
            )
            danger = self._danger_in(parts, image, location)
            if self._remembers(blob) and danger is not None:
                self._known.put(examined, danger, _ENTRY_BYTES + weight_of(examined))
        if not danger:
            return
        if self._mode == "refuse":
            raise UnsafeImage(f"the data is {danger} (unsafe_images = refuse)")
        if is_new:
            LOG.warning(
                "image %r: %s: the data is %s (unsafe_images = log)", image.id, location, danger
            )

    def _remembers(self, blob: Blob) -> bool:
        """Whether one examination suffices.

        To log needs no certainty that the bytes are the same; to refuse does.
        """
        names_bytes = blob.version is not None and blob.is_settled and blob.is_trusted
        return names_bytes or self._mode == "log"

    def _danger_in(self, parts: DataParts, image: Image, location: OpenLocation) -> str | None:
        """Return what `danger_in` returns; None if the data cannot be examined."""
        try:
            return danger_in(parts) if may_be_unsafe(parts.part(0, FIRST_BYTES)) else ""
        except BackendError as error:
            if self._mode == "refuse":
                raise
            LOG.warning(
                "image %r: %s: the data cannot be examined (unsafe_images = log): %s",
                image.id,
                location,
                error,
            )
            return None
