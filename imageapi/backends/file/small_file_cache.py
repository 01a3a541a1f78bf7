# SPDX-License-Identifier: Apache-2.0
"""A cache of small files, valid as long as a stat shows no change.

Each file call releases the interpreter's lock and must acquire it again.  For a
small image that takes longer than all the rest.  One stat shows whether the
bytes in memory are still those of the file.
"""

import os
from typing import NamedTuple

from imageapi.backends.base import Blob
from imageapi.backends.file.folder import StatSignature
from imageapi.bounded_cache import BoundedCache

#: The size in bytes of the largest file that is kept.
LARGEST = 64 * 1024

_REMEMBERED_BYTES = 4 * 1024 * 1024

# The memory for the path, the identity and the cache entry of one file.
_ENTRY_BYTES = 800


class SmallFile(NamedTuple):
    """A file as it was read.

    :ivar version: names these bytes; None if the times are not settled yet.
    """

    identity: StatSignature
    version: str | None
    data: bytes


class SmallFiles:
    """The cached files: bounded in memory, safe in threads."""

    def __init__(self) -> None:
        self._known: BoundedCache[str, SmallFile] = BoundedCache(_REMEMBERED_BYTES)

    def get(self, path: str) -> SmallFile | None:
        """Return a cached file if the path still names the same file, and no link."""
        known = self._known.get(path)
        try:
            return known if known and known.identity.is_of(os.lstat(path)) else None
        except OSError:
            return None

    def keep(self, path: str, file: SmallFile) -> None:
        """Cache a file that has a version; replace an older entry of that path."""
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
