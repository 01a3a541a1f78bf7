# SPDX-License-Identifier: Apache-2.0
"""The records that all modules share: an image, and the location of its data."""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from operator import attrgetter
from types import MappingProxyType
from typing import Any

from imageapi.errors import MalformedImage
from imageapi.visibility import Visibility

STATUSES = frozenset(
    {
        "active",
        "deactivated",
        "deleted",
        "importing",
        "killed",
        "pending_delete",
        "queued",
        "saving",
        "uploading",
    }
)

#: The statuses of images that only an admin may know of.
DELETED = frozenset({"deleted", "pending_delete"})

# A slash would begin a second path segment.  Control characters and lone
# surrogates (from bytes that are not UTF-8) are not allowed in an id.
_NO_IMAGE_ID = re.compile(r"[/\x00-\x1f\x7f-\x9f\ud800-\udfff]")

_HASH_NAME = re.compile(r"[\x20-\x7e]{0,100}")

#: In bytes of UTF-8.  The limit keeps long ids from registries and searches.
LONGEST_IMAGE_ID = 255


def is_image_id(text: str) -> bool:
    """Whether an image can have this id (docs/wire.md, Routes)."""
    if not 0 < len(text) <= LONGEST_IMAGE_ID or text == "detail" or _NO_IMAGE_ID.search(text):
        return False
    return text.isascii() or len(text.encode()) <= LONGEST_IMAGE_ID


@dataclass(frozen=True)
class Location:
    """The location of an image's data.

    It may contain credentials, so neither str() nor repr() shows it.

    :ivar url: the URL, exactly as in the record.
    :ivar store: the name of the store that must open it; None for the first
        store that opens the URL's scheme.
    """

    url: str
    store: str | None = None

    @property
    def scheme(self) -> str:
        """The URL's scheme in lower case; an empty text if it has none."""
        head, colon, _ = self.url.partition(":")
        return head.lower() if colon else ""

    def redacted(self) -> str:
        """Return the URL for an operator: without credentials, query and fragment."""
        return re.split(r"[?#]", re.sub(r"^([^:/]*:)?(//)?.*@", r"\1\2", self.url), maxsplit=1)[0]

    def __repr__(self) -> str:
        return "<Location>"


#: The only location of an image that has no data.  Without it, the first store would look
#: for data by the image's id.
NO_LOCATION = Location("")


@dataclass(frozen=True, kw_only=True)
class Image:
    """The record of an image, as a registry returns it.

    :ivar status: one of `STATUSES`.
    :ivar size: in bytes.  None if unknown; never 0 for unknown.
    :ivar virtual_size: in bytes.
    :ivar checksum: the MD5 of the data, in hexadecimal digits.
    :ivar created_at, updated_at, deleted_at: in UTC; a naive time is UTC.
    :ivar min_ram: in MiB.
    :ivar min_disk: in GiB.
    :ivar owner: the id of a project.
    :ivar properties: JSON values by name.
    :ivar locations: the locations of the data, best first.  If empty, the first
        store finds the data by the image's id; `NO_LOCATION` says that there is none.
    :ivar members: the ids of the projects that share the image.
    :ivar os_hash_algo, os_hash_value: the name of a hash in hashlib, and its digest
        in hexadecimal digits.  If set, this hash is verified instead of the MD5.
    :ivar unknown_keys: keys of the record that imageapi does not use and that may be
        misspelt.  The log and the commands show them, and clients never see them.
        Images that differ only in them are equal.
    """

    id: str
    status: str
    name: str | None = None
    disk_format: str | None = None
    container_format: str | None = None
    size: int | None = None
    virtual_size: int | None = None
    checksum: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    deleted_at: datetime | None = None
    is_public: bool = False
    protected: bool = False
    deleted: bool = False
    min_ram: int = 0
    min_disk: int = 0
    owner: str | None = None
    properties: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    locations: tuple[Location, ...] = ()
    members: frozenset[str] = frozenset()
    os_hash_algo: str | None = None
    os_hash_value: str | None = None
    unknown_keys: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        """Check the values whose wrong type would expose an image or break its response.

        :raises MalformedImage: the registry created the image with such a value.
        """
        for name in ("is_public", "protected", "deleted"):
            value = getattr(self, name)
            if not isinstance(value, bool):
                raise MalformedImage(f"{name} must be True or False, not {type(value).__name__}")
        if not isinstance(self.members, frozenset):
            kind = type(self.members).__name__
            raise MalformedImage(f"members must be a frozenset of project ids, not {kind}")
        if self.size is not None and (isinstance(self.size, bool) or self.size < 0):
            raise MalformedImage("size must be a whole number, 0 or more, or None")
        self._check_hashes()
        if self.status not in STATUSES:
            raise MalformedImage(f"status must be one of {', '.join(sorted(STATUSES))}")

    def _check_hashes(self) -> None:
        if not isinstance(self.checksum, str | None) or len(self.checksum or "") > 128:
            raise MalformedImage("checksum must be a text of at most 128 characters, or None")
        name = self.os_hash_algo
        # For such names, hashlib raises other errors than for an unknown hash.
        if name is not None and not (isinstance(name, str) and _HASH_NAME.fullmatch(name)):
            raise MalformedImage("os_hash_algo must be the name of a hash in ASCII, or None")

    @property
    def is_deleted(self) -> bool:
        """Whether the image is deleted, by its flag or its status."""
        return self.deleted or self.status in DELETED

    @property
    def visibility(self) -> Visibility:
        """The values that decide who may know of the image."""
        return Visibility(
            is_public=self.is_public,
            is_deleted=self.is_deleted,
            owner=self.owner,
            members=self.members,
        )

    @property
    def is_active(self) -> bool:
        """Whether the status and the flag allow serving the data."""
        return self.status == "active" and not self.deleted


_LEAVES = frozenset({str, int, bool, float, datetime, type(None)})
_FIELDS = attrgetter(*(field.name for field in fields(Image)))


def weight_of(value: object) -> int:
    """Return about how many bytes a value takes in memory, with everything in it.

    The result is rather too large than too small: a shared object counts each time.

    :param value: images, errors about them, locations, texts, JSON values, or
        collections of these.
    """
    weight = 0
    waiting = [value]
    while waiting:
        one = waiting.pop()
        weight += sys.getsizeof(one)
        # For speed: most values are leaves, and each record is weighed when it is read.
        if type(one) in _LEAVES:
            continue
        if isinstance(one, tuple | list | frozenset):
            waiting.extend(one)
        elif isinstance(one, Mapping):
            # getsizeof() of a proxy does not include the mapping behind it.
            weight += 0 if isinstance(one, dict) else sys.getsizeof(dict(one))
            waiting.extend(one)
            waiting.extend(one.values())
        elif isinstance(one, Image):
            waiting.append(_FIELDS(one))
        elif isinstance(one, MalformedImage):
            waiting.append((one.args, one.visibility and one.visibility.members))
        elif isinstance(one, Location):
            waiting.append((one.url, one.store))
    return weight
