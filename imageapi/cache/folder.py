# SPDX-License-Identifier: Apache-2.0
"""The folder of the cache, which all processes share: who fills a file, and who reads it.

`imageapi.cache.contents` lists its files.  A file ``lock`` is locked while files are
created or removed.
"""

import contextlib
import fcntl
import json
import logging
import os
import time
from collections.abc import Iterator, Sequence

from imageapi.backends.file.folder import StatSignature
from imageapi.bounded_cache import BoundedCache
from imageapi.cache.contents import (
    PART,
    UNFINISHED,
    UNLOCKED,
    VERIFIED,
    Entry,
    entries_of,
    is_locked,
    make_room,
    remove_leftovers,
    unlink,
)
from imageapi.cache.file_systems import SHARED, file_system_of
from imageapi.cache.files import CacheFile, give_to_owner, is_at, open_file
from imageapi.cache.names import size_in
from imageapi.errors import BackendUnavailable

LOG = logging.getLogger(__name__)

# For the group of the service, as the data of private images.
_MODE = 0o640

# The last use of data is written down so exactly, in seconds.
_USE_SECONDS = 60.0

_REMEMBERED = 10_000


class CacheFolder:
    """The folder of the cache.  Thread-safe; does no I/O until it is used."""

    def __init__(self, directory: str, max_size: int, min_free: int) -> None:
        """Prepare.

        :param directory: an absolute path.
        :param max_size: the limit for all data, in bytes.
        :param min_free: how many bytes must stay free on the file system.
        """
        self.directory = directory
        self._max_size = max_size
        self._min_free = min_free
        # What the files NAME.ok say, and when they were touched, so that this is not done
        # for each request.
        self._signatures: BoundedCache[str, StatSignature] = BoundedCache(_REMEMBERED)
        self._used: BoundedCache[str, float] = BoundedCache(_REMEMBERED)

    def path(self, name: str) -> str:
        return f"{self.directory}/{name}"

    # To read.

    def open_kept(self, name: str) -> CacheFile | None:
        """Open verified data, and lock it against removal.  Return None if it is absent.

        Data that was changed, or whose verification is not written down, is removed.

        :raises OSError: the folder or the file cannot be read.
        """
        file = self._open(name)
        if file is None:
            return None
        try:
            if file.lock(fcntl.LOCK_SH):
                status = file.status()
                if self._is_verified(name, status):
                    self._note_use(name)
                    return file
                if status.st_nlink:
                    LOG.warning("%s was changed, or not completed: removed", self.path(name))
                    self.remove_file(name, status)
            file.close()
        except BaseException:
            file.close()
            raise
        return None

    def open_filling(self, name: str) -> CacheFile | None:
        """Open data that somebody fills, or completed just now; None if there is none.

        :raises OSError: the folder or the file cannot be read.
        """
        file = self._open(name, PART) or self._open(name)
        if file is not None and file.lock(fcntl.LOCK_SH) and not self.is_complete(file):
            file.close()
            return None
        return file

    def is_complete(self, file: CacheFile) -> bool:
        """Whether an open file was verified, and has its name."""
        return file.is_at(self.path(file.name))

    def is_verified(self, file: CacheFile) -> bool:
        """Whether an open file is as it was when its verification was written down.

        :raises OSError: the folder cannot be read.
        """
        return self._is_verified(file.name, file.status())

    def remove_unfinished(self, file: CacheFile) -> None:
        """Remove an open file that nobody will complete."""
        self.remove_file(file.name, file.status())

    # To fill.

    def fill(self, name: str) -> "Filling | None":
        """Begin to fill a file; None if somebody else does, or there is no room for it.

        :raises OSError: the folder cannot be read or written.
        """
        path = self.path(name)
        size = size_in(name) or 0
        with self.locked():
            if os.path.lexists(path):
                return None
            if os.path.lexists(path + PART):
                if is_locked(path + PART):
                    return None
                os.unlink(path + PART)
            if self._make_room(size) is None:
                LOG.info("%s does not fit: max_size, min_free, or all data is being read", path)
                return None
            descriptor = self._create(path)
        return Filling(self, descriptor, name)

    def _create(self, path: str) -> int:
        """Create a file, lock it, and only then give it its name: others lock what has one."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path + UNLOCKED, flags, _MODE)
        try:
            give_to_owner(descriptor, self.directory)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.rename(path + UNLOCKED, path + PART)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def sign(self, name: str, signature: StatSignature) -> None:
        """Write down that a file is verified.

        :raises OSError: that failed.
        """
        path = self.path(name)
        with open(path + UNFINISHED, "w", encoding="ascii") as file:
            give_to_owner(file.fileno(), self.directory)
            json.dump(signature, file)
            file.flush()
            os.fsync(file.fileno())
        os.rename(path + UNFINISHED, path + VERIFIED)

    def remove_file(self, name: str, status: os.stat_result) -> None:
        """Remove an open file, complete or not, unless another one has its name now."""
        try:
            with self.locked():
                for is_complete in (True, False):
                    entry = Entry(name, 0, is_complete, 0)
                    if is_at(self.path(entry.file_name), status):
                        unlink(self.directory, entry)
        except OSError as error:
            LOG.warning("%s cannot be removed: %s", self.path(name), error.strerror)

    # For the operator.

    def entries(self) -> Sequence[Entry]:
        """Return all data; that which was used last is at the end.

        :raises OSError: the folder cannot be read.
        """
        return entries_of(self.directory)

    def remove(self, entry: Entry) -> bool:
        """Remove data, unless it is being filled.  Downloads that read it are not affected.

        :returns: whether it is removed.
        :raises OSError: it cannot be removed.
        """
        path = self.path(entry.file_name)
        with self.locked():
            if not entry.is_complete and (not os.path.lexists(path) or is_locked(path)):
                return False
            unlink(self.directory, entry)
            return True

    def prune(self) -> Sequence[Entry]:
        """Remove what nobody will complete, and what was used least recently, until the limits
        hold; return what was removed of the latter.

        :raises OSError: the folder cannot be read or written.
        """
        with self.locked():
            remove_leftovers(self.directory)
            return self._make_room(0) or ()

    def check(self) -> str:
        """Test whether data can be kept in the folder; return a text for the operator.

        :raises BackendUnavailable: it cannot.
        """
        try:
            with self.locked():
                remove_leftovers(self.directory)
            used = sum(entry.size for entry in self.entries())
        except OSError as error:
            mend = "it must be a folder into which the user of the service can write"
            raise BackendUnavailable(f"{self.directory}: {error.strerror}; {mend}") from None
        system = file_system_of(self.directory)
        if system in SHARED:
            raise BackendUnavailable(
                f"{self.directory} is on {system}, which other hosts share: use a local file system"
            )
        return f"directory {self.directory}, {used} of {self._max_size} bytes used"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Let no other thread or process create or remove files meanwhile.

        :raises OSError: the folder cannot be locked.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self.path("lock"), flags, _MODE)
        try:
            give_to_owner(descriptor, self.directory)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _open(self, name: str, suffix: str = "") -> CacheFile | None:
        return open_file(self.path(name) + suffix, name, size_in(name) or 0)

    def _make_room(self, size: int) -> Sequence[Entry] | None:
        return make_room(self.directory, size, max_size=self._max_size, min_free=self._min_free)

    def _is_verified(self, name: str, status: os.stat_result) -> bool:
        known = self._signatures.get(name)
        if known is None or not known.is_of(status):
            known = self._signature_of(name)
            if known is None or not known.is_of(status):
                return False
            self._signatures.put(name, known)
        return status.st_size == size_in(name)

    def _signature_of(self, name: str) -> StatSignature | None:
        try:
            with open(self.path(name) + VERIFIED, encoding="ascii") as file:
                return StatSignature(*map(int, json.load(file)))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def _note_use(self, name: str) -> None:
        now = time.monotonic()
        last = self._used.get(name)
        if last is None or now - last > _USE_SECONDS:
            self._used.put(name, now)
            # The folder may be read-only.
            with contextlib.suppress(OSError):
                os.utime(self.path(name) + VERIFIED)


class Filling:
    """A file that this process fills, and nobody else.  Its owner keeps or discards it."""

    def __init__(self, folder: CacheFolder, descriptor: int, name: str) -> None:
        """Take over a descriptor, and its lock."""
        self.name = name
        self._folder = folder
        self._descriptor = descriptor

    def write(self, data: bytes) -> None:
        """Append data; readers see it at once.

        :raises OSError: it cannot be written.
        """
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def keep(self) -> None:
        """Give the verified data its name, and write down that it is verified.

        Readers that follow continue as soon as the file has its name.  The data reaches the
        disk before its signature does: after a power failure, a file may have the right size
        and times, and wrong bytes.

        :raises OSError: that failed; the data is not kept.
        """
        path = self._folder.path(self.name)
        try:
            os.rename(path + PART, path)
            os.fsync(self._descriptor)
            self._folder.sign(self.name, StatSignature.of(os.fstat(self._descriptor)))
        except OSError:
            self.discard()
            raise
        self._close()

    def discard(self) -> None:
        """Remove the file.  May be called twice."""
        if self._descriptor >= 0:
            try:
                self._folder.remove_file(self.name, os.fstat(self._descriptor))
            finally:
                self._close()

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
