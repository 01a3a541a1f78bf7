# SPDX-License-Identifier: Apache-2.0
"""The contract of what writes records and data.  Commands use it; no request does.

A registry offers a `RecordWriter`, a store a `DataWriter` (`RegistryBackend.writer`,
`StoreBackend.writer`).  Any two of them work together.  The data is written first and the
record last, so that no client ever sees a record without data.
"""

import hashlib
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import BinaryIO, ClassVar, NamedTuple, Self

from imageapi.errors import ImageAPIError
from imageapi.image import Image, Location


class WriteError(ImageAPIError):
    """Nothing was changed, or every change was undone.  The text says why."""


class RecordExists(WriteError):
    """A record of this id exists, and this command did not write it."""


class Digests(NamedTuple):
    """The size in bytes and the hashes of data that was read to its end."""

    size: int
    md5: str
    sha512: str


class HashingReader:
    """The data of an image: counts and hashes the bytes as they are read."""

    def __init__(
        self, source: BinaryIO, progress: Callable[[int], object], size: int | None = None
    ) -> None:
        """Prepare; read nothing yet.

        :param progress: is called with the number of bytes of each chunk.
        :param size: the number of bytes, if something else than the source knows it.
        """
        self._source = source
        self._known_size = size
        self._progress = progress
        self._size = 0
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha512 = hashlib.sha512()

    def expected_size(self) -> int | None:
        """Return the number of bytes still to read; None if unknown before the end."""
        if self._known_size is not None:
            return self._known_size
        try:
            status = os.fstat(self._source.fileno())
            if stat.S_ISREG(status.st_mode):
                return max(status.st_size - self._source.tell(), 0)
        except OSError:
            pass  # not a real file, such as one in memory
        return None

    def read(self, size: int) -> bytes:
        """Return the next bytes, at most ``size`` of them; no bytes at the end.

        :raises WriteError: the data cannot be read.
        """
        try:
            chunk = self._source.read(size)
        except OSError as error:
            raise WriteError(f"the data cannot be read: {error.strerror}") from None
        self._size += len(chunk)
        self._md5.update(chunk)
        self._sha512.update(chunk)
        self._progress(len(chunk))
        return chunk

    def digests(self) -> Digests:
        """Return the size and hashes of the bytes read so far."""
        return Digests(self._size, self._md5.hexdigest(), self._sha512.hexdigest())


class RecordWriter(ABC):
    """Writes the records of a registry, each completely or not at all.

    :cvar needs_locations: whether each record must name the location of its data, because
        others that read it do not know where the first store has the data of an id.
    """

    needs_locations: ClassVar[bool] = False

    @abstractmethod
    def read(self, image_id: str) -> bytes:
        """Return the bytes of a record.

        :raises imageapi.errors.BackendError: it does not exist or cannot be read.
        """

    @abstractmethod
    def create(self, image_id: str, record: bytes) -> None:
        """Write a record that does not exist yet.

        :raises RecordExists: a record of this id certainly existed before.
        :raises WriteError: a record of this id exists, or it cannot be written.
        """

    @abstractmethod
    def replace(self, image_id: str, old: bytes, new: bytes) -> None:
        """Write ``new`` if the record is still ``old``.

        :raises WriteError: somebody else has changed it, or it cannot be written.
        """

    @abstractmethod
    def remove(self, image_id: str, old: bytes) -> None:
        """Remove the record if it is still ``old``.

        :raises WriteError: somebody else has changed it, or it cannot be removed.
        """

    def temporary(self) -> Iterator["Leftover"]:
        """Find what interrupted writing has left behind."""
        return iter(())


class NewData(ABC):
    """Data that is written completely, but belongs to no record yet.

    As a context manager it removes the data at the end, unless it `is_kept`.

    :ivar location: where the data is; None for the place at which the store finds the
        data of a record without a location.
    :ivar is_kept: whether the data stays, even if an exception follows.
    """

    location: Location | None = None
    is_kept = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Remove the data unless it is kept; release everything."""


class Leftover(NamedTuple):
    """Something in a store or registry that no record uses.

    :ivar name: its path or URL, for the operator.
    :ivar seconds: how long ago it was written.
    :ivar remove: removes it, and raises `WriteError` if it cannot.
    :ivar image_id: the image whose data it is, judged by its name; None if unknown.
    :ivar location: the location that the record of this image would have.
    """

    name: str
    seconds: float
    remove: Callable[[], None]
    image_id: str | None = None
    location: Location | None = None


class DataWriter(ABC):
    """Writes and removes data of a store."""

    @abstractmethod
    def put(self, image: Image, data: HashingReader, *, is_replacement: bool) -> NewData:
        """Write data, read to its end, completely or not at all.

        :param image: whose data it is.
        :param is_replacement: whether the image may have data already, which stays.
        :raises WriteError: the data exists already, or cannot be written.
        """

    def left_behind(self, image_id: str) -> Location | None:
        """Find data at the place where `put` writes the first data of an image.

        A command that was killed before it wrote the record leaves such data.  It is
        complete, because `put` writes data completely or not at all.

        :returns: the location; None if nothing is there, or if each `put` writes to a
            place of its own.
        """
        return None

    @abstractmethod
    def owns(self, image_id: str, location: Location) -> bool:
        """Whether `put` wrote this location for this image, so that no other image uses it."""

    @abstractmethod
    def remove(self, location: Location) -> None:
        """Remove data.  It is no error if there is none.

        :raises WriteError: it cannot be removed.
        """

    @abstractmethod
    def leftovers(self, used: Iterable[Location]) -> Iterator[Leftover]:
        """Find data that no record uses, and what interrupted writing has left behind.

        :param used: all locations of all records.
        """
