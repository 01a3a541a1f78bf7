# SPDX-License-Identifier: Apache-2.0
"""Small files, kept whole for as long as the system says that they are the same.

Each file call hands the interpreter's lock to another thread and wants it
back: for a small image that takes longer than all the rest.  One stat tells
whether the bytes in memory are those of the file.
"""

import os
from typing import NamedTuple

from imageapi.backends.base import Blob
from imageapi.backends.file.folder import StatSignature
from imageapi.bounded_cache import BoundedCache

#: Bytes of the largest file that is kept.
LARGEST = 64 * 1024

_REMEMBERED_BYTES = 4 * 1024 * 1024

# What the cache, the path and the identity take for each.
_ENTRY_BYTES = 800


class SmallFile(NamedTuple):
    """A file as it was read.

    :ivar version: names these bytes; None where nothing does yet.
    """

    identity: StatSignature
    version: str | None
    data: bytes


class SmallFiles:
    """Bounded by the memory that they take; safe in threads."""

    def __init__(self) -> None:
        self._known: BoundedCache[str, SmallFile] = BoundedCache(_REMEMBERED_BYTES)

    def get(self, path: str) -> SmallFile | None:
        """A file that was kept, where the same one lies there still, under no link."""
        known = self._known.get(path)
        if known is None:
            return None
        try:
            return known if known.identity.is_of(os.lstat(path)) else None
        except OSError:
            return None

    def keep(self, path: str, file: SmallFile) -> None:
        """Keep a file that has a version, in place of what lay there before."""
        self._known.put(path, file, _ENTRY_BYTES + len(file.data))


class SmallBlob(Blob):
    """A part of a small file, in one chunk."""

    def __init__(self, file: SmallFile, start: int, stop: int | None) -> None:
        self.total_size = file.identity.size
        self.version = file.version
        self._part = file.data[start:stop]

    def __next__(self) -> bytes:
        part, self._part = self._part, b""
        if not part:
            raise StopIteration
        return part

    def close(self) -> None:
        self._part = b""
