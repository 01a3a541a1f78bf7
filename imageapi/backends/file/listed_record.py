# SPDX-License-Identifier: Apache-2.0
"""What the index of a folder keeps of each file: as little as order and filters need."""

import struct
from collections.abc import Container, Mapping
from datetime import datetime
from typing import Any, TypeVar

from imageapi.backends.file.folder import StatSignature
from imageapi.image import Image
from imageapi.protocol.value_text import text_of

# Of device and inode, 64 bits; of size, mtime and ctime, 64 bits with a sign.
_SIGNATURE = struct.Struct("=QQqqq")

# A few bytes are enough, because the record itself is compared afterwards.
_HASH_BYTES = 3

# With more, the hashes would take more memory than all the rest.
_MOST_HASHES = 256

# So many values are known at a time.
_MOST_SHARED = 10_000

T = TypeVar("T")


class IndexedFile:
    """A file in the folder that is in no list: it is malformed, or no file.

    :ivar inode: that of the folder's entry, which is a link's own inode.
    :ivar signature: the packed stat signature, of a link's target; empty if there is none.
    """

    __slots__ = ("inode", "signature")

    def __init__(self, inode: int, signature: bytes) -> None:
        self.inode = inode
        self.signature = signature


class ListedRecord(IndexedFile):
    """The fields of a record by which lists are sorted and filtered, as `Image` has them.

    :ivar members: contains each member, and may contain others too.
    :ivar properties: contains each pair of a name and a text, and may contain others too.
    """

    __slots__ = (
        *("id", "name", "status", "container_format", "disk_format", "size"),
        *("created_at", "updated_at", "is_public", "protected", "deleted"),
        *("min_ram", "min_disk", "owner", "members", "properties"),
    )

    id: str
    name: str | None
    status: str
    container_format: str | None
    disk_format: str | None
    size: int | None
    created_at: datetime | None
    updated_at: datetime | None
    is_public: bool
    protected: bool
    deleted: bool
    min_ram: int
    min_disk: int
    owner: str | None
    members: Container[str]
    properties: Container[tuple[str, str]]


class Everything(Container[object]):
    """Contains any value."""

    def __contains__(self, value: object) -> bool:
        return True


class Hashes(Container[object]):
    """The hashes of some values.  It may seem to contain others, because hashes are short."""

    __slots__ = ("_packed",)

    def __init__(self, packed: bytes) -> None:
        self._packed = packed

    def __contains__(self, value: object) -> bool:
        return _hashed(value) in self._packed


class SharedValues:
    """Returns the same object for equal values, so that most records have theirs in common."""

    def __init__(self) -> None:
        self._known: dict[Any, Any] = {}

    def __call__(self, value: T) -> T:
        if len(self._known) >= _MOST_SHARED:
            self._known.clear()
        known: T = self._known.setdefault(value, value)
        return known

    def hashes(self, values: "frozenset[Any]") -> Container[Any]:
        """Return what contains these values; it takes a few bytes for each."""
        if not values:
            return _NOTHING
        if len(values) > _MOST_HASHES:
            return _EVERYTHING
        packed = b"".join(sorted(map(_hashed, values)))
        known: Hashes = self._known.setdefault(packed, Hashes(packed))
        return known


_NOTHING: frozenset[Any] = frozenset()
_EVERYTHING = Everything()


def packed(signature: StatSignature | None) -> bytes:
    """Return a stat signature in little memory; empty for None."""
    return b"" if signature is None else _SIGNATURE.pack(*signature)


def listed_record(image: Image, inode: int, signature: bytes, shared: SharedValues) -> ListedRecord:
    """Return what the index keeps of an image."""
    record = ListedRecord(inode, signature)
    record.id = image.id
    record.name = shared(image.name)
    record.status = shared(image.status)
    record.container_format = shared(image.container_format)
    record.disk_format = shared(image.disk_format)
    record.size = shared(image.size)
    record.created_at = shared(image.created_at)
    record.updated_at = shared(image.updated_at)
    record.is_public = image.is_public
    record.protected = image.protected
    record.deleted = image.deleted
    record.min_ram = shared(image.min_ram)
    record.min_disk = shared(image.min_disk)
    record.owner = shared(image.owner)
    record.members = shared.hashes(image.members)
    record.properties = shared.hashes(_pairs(image.properties))
    return record


def _pairs(properties: Mapping[str, Any]) -> frozenset[tuple[str, str]]:
    texts = ((name, text_of(value)) for name, value in properties.items())
    return frozenset((name, text) for name, text in texts if text is not None)


def _hashed(value: object) -> bytes:
    return (hash(value) & 0xFFFFFF).to_bytes(_HASH_BYTES)
