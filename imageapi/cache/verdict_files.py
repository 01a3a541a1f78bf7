# SPDX-License-Identifier: Apache-2.0
"""Which data has the right hash and which does not, in files that all processes share.

Each verdict is an empty file: the hash of what was compared, and ``.right`` or ``.wrong``.
Its mtime is the time of the comparison.
"""

import contextlib
import hashlib
import os
import time
from collections.abc import Sequence

from imageapi.cache.files import give_to_owner

# Each takes an inode.  Without its verdict, data is only hashed once more.
_MOST_FILES = 20_000

# How often files are counted: once for so many new ones.
_BETWEEN_COUNTS = 500

_RIGHT, _WRONG = ".right", ".wrong"


class VerdictFiles:
    """The verdicts in the folder ``verdicts`` of a cache.

    Thread-safe.  If the folder cannot be used, nothing is remembered, and no error is raised.
    """

    def __init__(self, directory: str) -> None:
        """Prepare; do no I/O.

        :param directory: the folder of the cache.
        """
        self._directory = f"{directory}/verdicts"
        self._until_count = 0

    def add(self, compared: Sequence[str], *, is_right: bool) -> None:
        """Write a verdict down.

        :param compared: texts that identify the data and its expected hash.
        """
        path = self._path(compared)
        with contextlib.suppress(OSError):
            self._create(path + (_RIGHT if is_right else _WRONG))
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path + (_WRONG if is_right else _RIGHT))
            self._remove_some()

    def is_right(self, compared: Sequence[str], wrong_seconds: float) -> bool | None:
        """Whether the data has the right hash; None if unknown.

        :param wrong_seconds: for how long wrong data is known to be wrong.
        """
        path = self._path(compared)
        with contextlib.suppress(OSError):
            age = time.time() - os.stat(path + _WRONG).st_mtime
            return False if 0 <= age < wrong_seconds else None
        with contextlib.suppress(OSError):
            os.stat(path + _RIGHT)
            return True
        return None

    def _create(self, path: str) -> None:
        """Create a file, or set its mtime to now."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(self._directory, mode=0o750)
            folder = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                give_to_owner(folder, os.path.dirname(self._directory))
            finally:
                os.close(folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o640)
        try:
            give_to_owner(descriptor, self._directory)
            os.utime(descriptor)
        finally:
            os.close(descriptor)

    def _path(self, compared: Sequence[str]) -> str:
        text = "\0".join(compared).encode("utf-8", "surrogatepass")
        return f"{self._directory}/{hashlib.sha256(text).hexdigest()}"

    def _remove_some(self) -> None:
        """Remove the oldest files, if there are too many.  Threads may do so at once."""
        self._until_count -= 1
        if self._until_count >= 0:
            return
        self._until_count = _BETWEEN_COUNTS
        with os.scandir(self._directory) as entries:
            files = [entry.path for entry in entries]
        if len(files) > _MOST_FILES:
            for path in sorted(files, key=_mtime)[: len(files) - _MOST_FILES // 2]:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)


def _mtime(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0
