# SPDX-License-Identifier: Apache-2.0
"""An open file of the cache."""

import fcntl
import os
from collections.abc import Callable

#: Sends bytes of a file: its descriptor, the offset, and how many; returns how many it has sent.
SendFile = Callable[[int, int, int], int]


class CacheFile:
    """An open file, to read.  Thread-safe, except `close`."""

    def __init__(self, descriptor: int, name: str, size: int) -> None:
        """Take over a descriptor.

        :param size: of the complete data, in bytes.
        """
        self.name = name
        self.size = size
        self._descriptor = descriptor

    def read(self, position: int, count: int) -> bytes:
        """Return the bytes at an offset; fewer at the end of the file.

        :raises OSError: they cannot be read.
        """
        return os.pread(self._descriptor, count, position)

    def send(self, send: SendFile, position: int, count: int) -> int:
        """Let a function send bytes of the file; return how many it has sent."""
        return send(self._descriptor, position, count)

    def status(self) -> os.stat_result:
        return os.fstat(self._descriptor)

    def lock(self, kind: int) -> bool:
        """Lock the file without waiting; return False if others have locked it.

        :param kind: LOCK_SH to share the lock, LOCK_EX to have it alone.
        """
        try:
            fcntl.flock(self._descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def is_at(self, path: str) -> bool:
        """Whether a path names this file."""
        return is_at(path, self.status())

    def close(self) -> None:
        """Close the file, and release its lock.  May be called twice."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        # For servers that drop a response without closing it.
        self.close()


def open_file(path: str, name: str, size: int) -> CacheFile | None:
    """Open a file.  Return None if it does not exist.  Do not follow links.

    :raises OSError: it cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    return CacheFile(descriptor, name, size)


def give_to_owner(descriptor: int, directory: str) -> None:
    """Give a new file to the owner of a folder, if root runs this.

    Otherwise a command of root would leave files that the service cannot open.

    :raises OSError: that failed.
    """
    if os.geteuid() != 0:
        return
    new, owner = os.fstat(descriptor), os.stat(directory)
    # A service may run as root without the right to change owners.
    if (new.st_uid, new.st_gid) != (owner.st_uid, owner.st_gid):
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def is_at(path: str, status: os.stat_result) -> bool:
    """Whether a path names the file of a stat."""
    try:
        return os.path.samestat(os.lstat(path), status)
    except FileNotFoundError:
        return False
