# SPDX-License-Identifier: Apache-2.0
"""Which hash verifies an image's data, and which data was compared with it."""

import hashlib
import time
from typing import NamedTuple, Protocol

from imageapi.bounded_cache import BoundedCache
from imageapi.cache.verdict_files import VerdictFiles
from imageapi.errors import BackendError
from imageapi.image import Image, weight_of

# About 8,000 versions of data whose URLs have the usual length.
_REMEMBERED_BYTES = 8 * 1024 * 1024

# The memory that the cache itself needs for each entry.
_ENTRY_BYTES = 300

#: For how long wrong bytes are refused without being read again.  The time is limited
#: because a server may repair them under the same version; Swift does so from another copy.
WRONG_SECONDS = 60.0

# Takes the place of that time for bytes that are right.
_RIGHT = float("-inf")


class Hasher(Protocol):
    """The methods of hashlib's objects that are used."""

    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


class Checksum(NamedTuple):
    """The name of a hash in hashlib, and the digest that the data must have."""

    algorithm: str
    digest: str

    def hasher(self) -> Hasher:
        """Return a new hash object.

        :raises BackendError: this Python does not have the hash, or does not allow
            it, such as MD5 under FIPS.
        """
        try:
            hasher = hashlib.new(self.algorithm, usedforsecurity=False)
        except ValueError:
            hasher = None
        # The hashes of variable length (SHAKE) have no digest without a given length.
        if hasher is None or not hasher.digest_size:
            raise BackendError(
                f"this Python cannot compute {self.algorithm!r:.40}, so the data cannot be"
                " verified: give the record another hash, or set verify_checksum = never"
            )
        return hasher


def checksum_of(image: Image) -> Checksum | None:
    """Return the checksum to verify an image's data; None if its record has no hash."""
    if image.os_hash_algo and image.os_hash_value:
        return Checksum(image.os_hash_algo, image.os_hash_value.lower())
    if image.checksum:
        return Checksum("md5", image.checksum.lower())
    return None


class Compared(NamedTuple):
    """Which bytes were compared with which hash.

    :ivar store: the name of the store.
    :ivar url: the URL of the location.
    :ivar version: the `Blob.version` of the bytes.
    """

    store: str
    url: str
    version: str
    checksum: Checksum


class Verdicts:
    """Remembers which bytes had the right hash and which did not; bounded, thread-safe."""

    def __init__(self, files: VerdictFiles | None = None) -> None:
        """Remember nothing yet.

        :param files: the verdicts of all processes; None without a cache.
        """
        self._files = files
        # When wrong bytes may be read again, in seconds of the monotonic clock; or `_RIGHT`.
        self._known: BoundedCache[Compared, float] = BoundedCache(_REMEMBERED_BYTES)

    def add(self, compared: Compared, *, is_right: bool) -> None:
        """Remember the result of a comparison; for wrong bytes, for `WRONG_SECONDS`."""
        self._remember(compared, is_right=is_right)
        if self._files is not None:
            self._files.add(_texts(compared), is_right=is_right)

    def is_right(self, compared: Compared) -> bool | None:
        """Whether the bytes have the right hash; None if unknown."""
        wrong_until = self._known.get(compared)
        if wrong_until == _RIGHT:
            return True
        if wrong_until is not None and time.monotonic() < wrong_until:
            return False
        if self._files is None:
            return None
        is_right = self._files.is_right(_texts(compared), WRONG_SECONDS)
        if is_right:
            self._remember(compared, is_right=True)
        return is_right

    def _remember(self, compared: Compared, *, is_right: bool) -> None:
        wrong_until = _RIGHT if is_right else time.monotonic() + WRONG_SECONDS
        self._known.put(compared, wrong_until, _ENTRY_BYTES + weight_of(compared))


def _texts(compared: Compared) -> tuple[str, ...]:
    return (*compared[:3], *compared.checksum)
