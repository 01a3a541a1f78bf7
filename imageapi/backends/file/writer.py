# SPDX-License-Identifier: Apache-2.0
"""Put an image into the file store and its record into the file registry.

The data is written first and the record last, each completely or not at all.  So a
client never sees a record without data, and an interruption leaves no partial
file.  Only a SIGKILL or a power cut between creating the two names leaves data
without a record.  The id is then refused until somebody removes the data.
"""

import errno
import os
import secrets
from typing import Self

from imageapi.backends.file.registry import FileRegistry
from imageapi.backends.file.store import FileStore
from imageapi.backends.upload import HashingReader, UploadError, record_of
from imageapi.image import Image

_CHUNK_SIZE = 1024 * 1024

# The errors of a file system without unnamed files (O_TMPFILE), such as NFS.
_NO_UNNAMED_FILES = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT)


def add_image(registry: FileRegistry, store: FileStore, image: Image, new: HashingReader) -> Image:
    """Add an image.

    :param image: its details; size, hashes and times are filled in. If it is not public,
        only the owner and group of its files can read them.
    :param new: the data; it is read to its end.
    :returns: the image as it was recorded.
    :raises UploadError: the id exists, a folder is not writable, or the data cannot be read.
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
            data.is_kept = record.is_kept = True
    except FileExistsError as error:
        raise UploadError(f"image {image.id} exists already: {error.filename2}") from None
    except OSError as error:
        raise UploadError(f"{error.filename or data_path}: {error.strerror}") from None
    return image


class _NewFile:
    """A file that gets its name when it is complete.  Unnamed, it vanishes when closed.

    :ivar is_kept: whether the file, once placed, stays even if the ``with`` block ends
        with an exception.
    """

    def __init__(self, path: str, mode: int) -> None:
        """Create the file.

        :param mode: its permissions, before the umask is applied.
        """
        self._path = path
        self._temporary: str | None = None
        self.is_kept = False
        self._folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._file = open(self._open(mode), "wb", buffering=0)  # noqa: SIM115 - closed in __exit__
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
        # With src_dir_fd this is linkat(2), which can follow the link in /proc.
        os.link(source, self._path, src_dir_fd=self._folder, follow_symlinks=True)
        os.fsync(self._folder)

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        try:
            if self._temporary is not None:
                os.unlink(self._temporary)
            if error is not None and not self.is_kept and self._is_placed():
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

    def _open(self, mode: int) -> int:
        folder = os.path.dirname(self._path)
        try:
            return os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, mode)
        except OSError as error:
            if error.errno not in _NO_UNNAMED_FILES:
                raise
        # No file name of an image contains a plus sign: it would be percent-encoded.
        self._temporary = os.path.join(folder, f".add+{secrets.token_hex(8)}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        return os.open(self._temporary, flags, mode)
