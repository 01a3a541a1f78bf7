# SPDX-License-Identifier: Apache-2.0
"""A file that appears under its name only when it is complete."""

import contextlib
import errno
import os
import secrets
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from imageapi.backends.writing import Leftover, WriteError
from imageapi.errors import BackendUnavailable
from imageapi.image import Location

# The errors of a file system without unnamed files (O_TMPFILE), such as NFS.
_NO_UNNAMED_FILES = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT)

# No file name of an image contains a plus sign: it would be percent-encoded.
_TEMPORARY = ".add+"


class NewFile:
    """A file that gets its name when it is complete.  Unnamed, it vanishes when closed.

    Once placed, it stays if it is kept, or if the ``with`` block ends without an exception.
    """

    def __init__(self, path: str, mode: int, *, replaces: bool = False) -> None:
        """Create the file.

        :param mode: its permissions.  The umask does not apply: the user that serves
            must be able to read what another user adds.
        :param replaces: whether to replace an existing file of this name.
        """
        self._path = path
        self._replaces = replaces
        self._temporary: str | None = None
        self._is_kept = False
        self._folder = open_folder(os.path.dirname(path))
        try:
            self._file = open(self._open(), "wb", buffering=0)  # noqa: SIM115 - closed in close()
        except BaseException:
            os.close(self._folder)
            raise
        try:
            os.fchmod(self._file.fileno(), mode)
        except BaseException:
            self.close(keep=False)
            raise

    def __enter__(self) -> Self:
        return self

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]

    def belong_as(self, other: os.stat_result) -> None:
        """Give the file the owner and group of another one, as far as this user may."""
        for owner, group in ((other.st_uid, other.st_gid), (-1, other.st_gid)):
            try:
                os.fchown(self._file.fileno(), owner, group)
            except OSError:
                continue
            return

    def place(self) -> None:
        """Give the file its name, unless it may not replace what has that name already."""
        os.fsync(self._file.fileno())
        if self._replaces:
            os.rename(str(self._temporary), self._path)
            self._temporary = None
        else:
            source = self._temporary or f"/proc/self/fd/{self._file.fileno()}"
            # With src_dir_fd this is linkat(2), which can follow the link in /proc.
            os.link(source, self._path, src_dir_fd=self._folder, follow_symlinks=True)
        os.fsync(self._folder)

    def keep(self) -> None:
        """Keep the file even if an exception follows."""
        self._is_kept = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close(keep=error is None)

    def close(self, *, keep: bool) -> None:
        """Release everything; remove the placed file unless it is kept."""
        try:
            if self._temporary is not None:
                # An interruption may come between the rename and recording it.
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._temporary)
            if not keep and not self._is_kept and not self._replaces and self._is_placed():
                os.unlink(self._path)
        finally:
            self._file.close()
            os.close(self._folder)

    def _is_placed(self) -> bool:
        # An interruption may come between the link and recording it, so compare files.
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self._file.fileno()))
        except FileNotFoundError:
            return False

    def _open(self) -> int:
        folder = os.path.dirname(self._path)
        if not self._replaces:  # an unnamed file cannot replace another one
            try:
                return os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            except OSError as error:
                if error.errno not in _NO_UNNAMED_FILES:
                    raise
        self._temporary = os.path.join(folder, f"{_TEMPORARY}{secrets.token_hex(8)}")
        return os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def mode_of(*, is_public: bool) -> int:
    """Return the permissions of the files of an image: private ones are for its group."""
    return 0o644 if is_public else 0o640


def is_temporary(path: str) -> bool:
    """Whether a path is that of a `NewFile` that was interrupted, or is being written."""
    return os.path.basename(path).startswith(_TEMPORARY)


def leftover(path: str, image_id: str | None = None, location: Location | None = None) -> Leftover:
    """Describe a file that no record uses; the parameters are the fields of `Leftover`."""
    try:
        status = os.lstat(path)
        # A file that was copied with its old mtime has a new ctime.
        seconds = time.time() - max(status.st_mtime, status.st_ctime)
    except OSError:
        seconds = 0.0  # it was removed meanwhile
    return Leftover(path, seconds, lambda: remove_file(path), image_id, location)


def temporary_files(folder: str) -> Iterator[Leftover]:
    """Find the files of a folder that were not completed.

    :raises BackendUnavailable: the folder cannot be read.
    """
    yield from map(leftover, sorted(filter(is_temporary, paths_in(folder))))


def paths_in(folder: str) -> list[str]:
    """Return the paths of the regular files of a folder, and of links to such files.

    :raises BackendUnavailable: the folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            return [entry.path for entry in entries if entry.is_file()]
    except OSError as error:
        raise BackendUnavailable(f"{folder}: {error.strerror}") from None


def open_folder(folder: str) -> int:
    """Open a folder, to lock it or to write its entries to the disk."""
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def remove_file(path: str) -> None:
    """Remove a file, if there is one.

    :raises WriteError: it cannot be removed.
    """
    try:
        folder = open_folder(os.path.dirname(path))
        try:
            os.unlink(path)
            os.fsync(folder)
        finally:
            os.close(folder)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise WriteError(f"{path}: {error.strerror}") from None
