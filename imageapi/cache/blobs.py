# SPDX-License-Identifier: Apache-2.0
"""Data that is read from the cache, complete or while it is being filled."""

import fcntl
import os
import time
from abc import abstractmethod
from collections.abc import Iterator

from imageapi.backends.base import Blob
from imageapi.cache.files import CacheFile, SendFile
from imageapi.cache.folder import CacheFolder
from imageapi.errors import BackendUnavailable

#: How many bytes at the end of data are held back until it is verified.
HELD_BACK = 64 * 1024

# In what pieces data is read again.
_AGAIN = 1024 * 1024

# How long a thread waits for more data, in seconds: the first time, and at most.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.064

# Without new data for so many seconds, a reader tests whether the filler still lives.
_DOUBT_SECONDS = 0.05


class CachedBlob(Blob):
    """Data in the cache.  A subclass says how many bytes can be read.

    It has no version: the core opens it again at its origin, and then verifies it itself.

    :ivar is_kept: whether the data is complete and verified.
    :ivar how: ``hit``, ``fill`` or ``follow``; see `RequestEnded.cache`.
    """

    total_size: int
    version = None
    is_kept: bool
    how: str

    def __init__(self, file: CacheFile, start: int, stop: int | None, chunk_size: int) -> None:
        """Take over an open file; the parameters are those of `StoreBackend.open`."""
        self._file = file
        self.total_size = file.size
        self._position = min(start, file.size)
        self._stop = file.size if stop is None else min(stop, file.size)
        self._chunk_size = chunk_size

    def __next__(self) -> bytes:
        if self._position >= self._stop:
            raise StopIteration
        available = self._wait()
        most = max(self._chunk_size, self.preferred_chunk_size)
        wanted = min(most, min(available, self._stop) - self._position)
        try:
            chunk = self._file.read(self._position, wanted)
            self._check_unchanged()
        except OSError as error:
            raise BackendUnavailable(f"the cache: {error.strerror}") from None
        if not chunk:
            raise BackendUnavailable("the cache: the file was truncated")
        self._position += len(chunk)
        return chunk

    def send_file(self, send: SendFile, limit: int) -> int:
        """Send the next bytes with a function, but not the last one.  This never waits for data.

        The next chunk shows whether the file was changed meanwhile.

        :param limit: send at most so many bytes.
        :returns: how many bytes were sent; 0 also if they cannot be read.
        """
        available = self._look()
        if available is None:
            return 0
        count = min(available, self._stop - 1) - self._position
        if count <= 0:
            return 0
        count = self._file.send(send, self._position, min(count, limit))
        self._position += count
        return count

    def first_bytes(self, count: int) -> Iterator[bytes]:
        """Yield the first bytes of the data again, in chunks.

        :raises BackendUnavailable: they cannot be read.
        """
        for position in range(0, count, _AGAIN):
            yield self.bytes_at(position, min(_AGAIN, count - position))

    def bytes_at(self, position: int, count: int) -> bytes:
        """Return bytes that were read before.

        :raises BackendUnavailable: they cannot be read.
        """
        try:
            data = self._file.read(position, count)
        except OSError as error:
            raise BackendUnavailable(f"the cache: {error.strerror}") from None
        if len(data) < count:
            raise BackendUnavailable("the cache: the file was truncated")
        return data

    def close(self) -> None:
        self._file.close()

    def _wait(self) -> int:
        """Wait until there is data to read; return how many bytes there are."""
        pause = _FIRST_PAUSE
        while (available := self._available()) <= self._position:
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        return available

    def _available(self) -> int:
        """Return how many bytes of the file can be sent.

        :raises BackendUnavailable: no further bytes will come.
        """
        available = self._look()
        if available is None:
            raise BackendUnavailable("the cache: the process that filled the file has stopped")
        return available

    @abstractmethod
    def _look(self) -> int | None:
        """Return how many bytes can be sent; None if the process that filled the file has stopped.

        This never blocks, so that an event loop can ask.
        """

    def _check_unchanged(self) -> None:
        """Raise BackendUnavailable if what was read may be other data."""


class KeptBlob(CachedBlob):
    """Complete and verified data."""

    is_kept = True
    how = "hit"

    def __init__(self, file: CacheFile, start: int, stop: int | None, chunk_size: int) -> None:
        super().__init__(file, start, stop, chunk_size)
        self._times = _times(file.status())

    def _look(self) -> int:
        return self.total_size

    def _check_unchanged(self) -> None:
        if _times(self._file.status()) != self._times:
            raise BackendUnavailable("the cache: the file was changed while it was read")


class FollowingBlob(CachedBlob):
    """Data that is being filled, maybe by another process.

    Its last bytes can be read when the whole was verified.
    """

    is_kept = False

    def __init__(
        self,
        folder: CacheFolder,
        file: CacheFile,
        start: int,
        stop: int | None,
        chunk_size: int,
        *,
        is_first: bool,
    ) -> None:
        """Take over an open file.

        :param is_first: whether the file is filled because of this reader.
        """
        super().__init__(file, start, stop, chunk_size)
        self._folder = folder
        self.how = "fill" if is_first else "follow"
        self._is_complete = False
        self._last_growth = time.monotonic()

    @property
    def awaits_data(self) -> bool:
        return self._position < self._stop and self._look() == self._position

    def has(self, position: int) -> bool:
        """Whether the byte at an offset is there."""
        return position < self._file.status().st_size

    def _available(self) -> int:
        try:
            return super()._available()
        except BackendUnavailable:
            self._folder.remove_unfinished(self._file)
            raise

    def _look(self) -> int | None:
        if self._is_complete:
            return self.total_size
        filled = min(self._file.status().st_size, max(self.total_size - HELD_BACK, 0))
        if filled > self._position:
            self._last_growth = time.monotonic()
            return filled
        is_in_doubt = time.monotonic() - self._last_growth > _DOUBT_SECONDS
        # The filler unlocks the file after it has given it its name.
        is_abandoned = is_in_doubt and self._file.lock(fcntl.LOCK_SH)
        if self._folder.is_complete(self._file):
            self._is_complete = True
            self._file.lock(fcntl.LOCK_SH)  # other processes do not remove a locked file
            return self.total_size
        return None if is_abandoned else self._position


def _times(status: os.stat_result) -> tuple[int, int]:
    """Return what shows that a file was changed.  Removing it changes its ctime too."""
    return status.st_size, status.st_mtime_ns
