# SPDX-License-Identifier: Apache-2.0
"""Which hash proves an image's data, and what this process has proved already."""

import contextlib
import hashlib
import threading
from typing import NamedTuple, Protocol

from cachetools import FIFOCache

from imageapi.errors import BackendError
from imageapi.image import Image, Location, weight_of

# Some 8,000 versions of data whose URLs are of the usual length.
_REMEMBERED_BYTES = 8 * 1024 * 1024

# What the cache itself takes for each.
_ENTRY_BYTES = 300


class Hasher(Protocol):
    """What of hashlib's objects is used."""

    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


class Checksum(NamedTuple):
    """A hash by its name in hashlib, and the digest that the data must have."""

    algorithm: str
    digest: str

    def hasher(self) -> Hasher:
        """A new hash object.

        :raises BackendError: this Python has no such hash, or, as with MD5
            under FIPS, does not let it be used.
        """
        try:
            hasher = hashlib.new(self.algorithm, usedforsecurity=False)
        except ValueError:
            hasher = None
        # The hashes of variable length (SHAKE) have no digest without one.
        if hasher is None or not hasher.digest_size:
            raise BackendError(
                f"this Python cannot compute {self.algorithm!r:.40}, so the data cannot be"
                " verified: give the record another hash, or set verify_checksum = never"
            )
        return hasher


def checksum_of(image: Image) -> Checksum | None:
    """What the data of an image is verified against; None when its record has no hash."""
    if image.os_hash_algo and image.os_hash_value:
        return Checksum(image.os_hash_algo, image.os_hash_value.lower())
    if image.checksum:
        return Checksum("md5", image.checksum.lower())
    return None


class Verified:
    """Remembers which version of which data had which checksum; bounded, thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # The values are the keys' weights.
        self._known: FIFOCache[tuple[object, ...], int] = FIFOCache(
            _REMEMBERED_BYTES, getsizeof=int
        )

    def add(self, store: str, location: Location, version: str, checksum: Checksum) -> None:
        """These bytes had this checksum."""
        key = (store, location.url, version, checksum)
        # ValueError: it is too large to be remembered.
        with self._lock, contextlib.suppress(ValueError):
            self._known[key] = _ENTRY_BYTES + weight_of(key)

    def has(self, store: str, location: Location, version: str, checksum: Checksum) -> bool:
        """Whether these bytes are known to have this checksum."""
        with self._lock:
            return (store, location.url, version, checksum) in self._known
