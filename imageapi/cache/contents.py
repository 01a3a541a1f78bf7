# SPDX-License-Identifier: Apache-2.0
"""The files of the cache, and which ones are removed.  The caller locks the folder.

========  ===================================================================
NAME      complete data; its readers share a lock (``flock``) on it
NAME.part data that is being filled; the filler has the lock on it alone
NAME.ok   the stat signature of verified data; its mtime is the last use
========  ===================================================================

The kernel releases the locks of a process that is killed.  So a file NAME.part
that is not locked will not be completed.
"""

import contextlib
import fcntl
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass

from imageapi.cache.files import CacheFile, open_file
from imageapi.cache.names import size_in

LOG = logging.getLogger(__name__)

PART = ".part"
VERIFIED = ".ok"

#: A signature that is being written.
UNFINISHED = ".ok+"

#: A new file that is not locked yet.  The folder is locked while there is one.
UNLOCKED = ".part+"


@dataclass(frozen=True)
class Entry:
    """Data in the cache, or being filled.

    :ivar size: in bytes, when complete.
    :ivar is_complete: False if it is being filled.
    :ivar last_use: in seconds since the epoch; 0 if unknown.
    """

    name: str
    size: int
    is_complete: bool
    last_use: float

    @property
    def file_name(self) -> str:
        return self.name if self.is_complete else self.name + PART


def entries_of(directory: str) -> list[Entry]:
    """Return all data in a folder; that which was used last is at the end.

    :raises OSError: the folder cannot be read.
    """
    found = []
    for file_name in os.listdir(directory):
        name = file_name.removesuffix(PART)
        size = size_in(name)
        if size is not None:
            last_use = _last_use(f"{directory}/{file_name}")
            found.append(Entry(name, size, name == file_name, last_use))
    return sorted(found, key=lambda entry: (entry.last_use, entry.name))


def _last_use(path: str) -> float:
    try:
        return os.stat(path if path.endswith(PART) else path + VERIFIED).st_mtime
    except OSError:
        return 0.0


def unlink(directory: str, entry: Entry) -> None:
    """Remove data and its signature, as far as they are there.

    :raises OSError: that failed.
    """
    path = f"{directory}/{entry.file_name}"
    for file in (path, path + VERIFIED):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(file)


def remove_leftovers(directory: str) -> None:
    """Remove the files that will not be completed.

    :raises OSError: that failed.
    """
    for name in os.listdir(directory):
        path = f"{directory}/{name}"
        if name.endswith(PART) and size_in(name.removesuffix(PART)) is not None:
            is_left = not is_locked(path)
        elif name.endswith(UNLOCKED):
            is_left = True
        else:
            data = path.removesuffix("+").removesuffix(VERIFIED)
            is_left = data != path and not os.path.lexists(data)
        if is_left:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def is_locked(path: str) -> bool:
    """Whether somebody fills a file, or removes it.

    :raises OSError: it cannot be opened.
    """
    file = open_file(path, "", 0)
    if file is None:
        return False
    with contextlib.closing(file):
        return not file.lock(fcntl.LOCK_SH)


def make_room(directory: str, size: int, *, max_size: int, min_free: int) -> Sequence[Entry] | None:
    """Remove what was used least recently, so that data of a size fits.

    What somebody reads or fills is not removed.

    :param size: of the new data, in bytes.
    :param max_size: the limit for all data, in bytes.
    :param min_free: how many bytes must stay free on the file system.
    :returns: what was removed.  None if the data cannot fit: then nothing was removed.
    :raises OSError: the folder cannot be read or written.
    """
    if size > max_size:
        return None
    entries = entries_of(directory)
    excess = max(
        sum(entry.size for entry in entries) + size - max_size,
        min_free + size - _free(directory, entries),
    )
    held: list[tuple[Entry, CacheFile]] = []
    try:
        for entry in entries:
            if excess <= 0:
                break
            file = _held_alone(directory, entry)
            if file is not None:
                held.append((entry, file))
                excess -= entry.size
        if excess > 0:
            return None
        for entry, _ in held:
            unlink(directory, entry)
            LOG.info("%s/%s is removed to make room", directory, entry.file_name)
        return [entry for entry, _ in held]
    finally:
        for _, file in held:
            file.close()


def _free(directory: str, entries: Sequence[Entry]) -> int:
    """Return how many bytes are free, without those that are being filled."""
    system = os.statvfs(directory)
    free = system.f_bavail * system.f_frsize
    for entry in entries:
        if not entry.is_complete:
            with contextlib.suppress(FileNotFoundError):
                free -= entry.size - os.stat(f"{directory}/{entry.file_name}").st_size
    return free


def _held_alone(directory: str, entry: Entry) -> CacheFile | None:
    """Open and lock a file; None if somebody reads or fills it."""
    file = open_file(f"{directory}/{entry.file_name}", entry.name, entry.size)
    if file is not None and not file.lock(fcntl.LOCK_EX):
        file.close()
        return None
    return file
