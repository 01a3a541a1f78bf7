# SPDX-License-Identifier: Apache-2.0
"""Put an image into the file store and its record into the file registry.

The data first, the record last, each whole or not at all: a client never sees
a record without data, nor an operator half a file after an interruption.  Only
a SIGKILL or a power cut between the two names leaves data without a record; the
id is then refused until somebody removes the data.
"""

import errno
import os
import secrets
from types import TracebackType
from typing import Self

from imageapi.backends.file.registry import FileRegistry
from imageapi.backends.file.store import FileStore
from imageapi.backends.upload import HashingReader, UploadError, record_of
from imageapi.image import Image

_CHUNK_SIZE = 1024 * 1024

# Where a file system has no unnamed files (O_TMPFILE), such as NFS.
_NO_UNNAMED_FILES = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT)


def add_image(
    registry: FileRegistry,
    store: FileStore,
    image: Image,
    new: HashingReader,
) -> Image:
    """Add an image.

    :param image: its details; size, hashes and times are filled in. Files of one that is
        not public can be read by their owner and group only.
    :param new: the data, read to its end.
    :returns: the image as it was recorded.
    :raises UploadError: the id exists, a folder cannot be written to, or the data not be read.
    """
    data_path, record_path = store.path(image.id), registry.path(image.id)
    for path in (record_path, data_path):
        if os.path.lexists(path):
            raise UploadError(f"image {image.id} exists already: {path}")
    try:
        mode = 0o666 if image.is_public else 0o640
        with _NewFile(data_path, mode) as data, _NewFile(record_path, mode) as record:
            while chunk := new.read(_CHUNK_SIZE):
                data.write(chunk)
            image = new.complete(image)
            record.write(record_of(image))
            data.place()
            record.place()
            data.keep()
            record.keep()
    except FileExistsError as error:
        raise UploadError(f"image {image.id} exists already: {error.filename2}") from None
    except OSError as error:
        raise UploadError(f"{error.filename or data_path}: {error.strerror}") from None
    return image


class _NewFile:
    """A file that gets its name when it is whole; without one it is gone when closed.

    Once placed, it stays if it is kept, or the ``with`` block ends without an exception.
    """

    def __init__(self, path: str, mode: int) -> None:
        """Make the file.

        :param mode: its permissions, of which the umask takes some away.
        """
        self._path = path
        self._mode = mode
        self._temporary: str | None = None
        self._is_kept = False
        self._folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._file = open(self._open(), "wb", buffering=0)  # noqa: SIM115 - closed in __exit__
        except BaseException:
            os.close(self._folder)
            raise

    def __enter__(self) -> Self:
        return self

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]

    def place(self) -> None:
        """Give the file its name, unless something has that name already."""
        os.fsync(self._file.fileno())
        source = self._temporary or f"/proc/self/fd/{self._file.fileno()}"
        # A folder's descriptor makes this linkat(2), which can follow that link.
        os.link(source, self._path, src_dir_fd=self._folder, follow_symlinks=True)
        os.fsync(self._folder)

    def keep(self) -> None:
        """From now on no exception takes the file away."""
        self._is_kept = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if self._temporary is not None:
                os.unlink(self._temporary)
            if error is not None and not self._is_kept and self._is_placed():
                os.unlink(self._path)
        finally:
            self._file.close()
            os.close(self._folder)

    def _is_placed(self) -> bool:
        # An interruption may come between the link and the note of it.
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self._file.fileno()))
        except FileNotFoundError:
            return False

    def _open(self) -> int:
        folder = os.path.dirname(self._path)
        try:
            return os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, self._mode)
        except OSError as error:
            if error.errno not in _NO_UNNAMED_FILES:
                raise
        # No image's file name holds a plus sign: it would be percent-encoded.
        self._temporary = os.path.join(folder, f".add+{secrets.token_hex(8)}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        return os.open(self._temporary, flags, self._mode)
