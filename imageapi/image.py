# SPDX-License-Identifier: Apache-2.0
"""The records in the middle: what an image is, and where its data lies."""

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

# A slash would be a second path segment; control characters and lone
# surrogates (what is not UTF-8) name no image.
_NO_IMAGE_ID = re.compile(r"[/\x00-\x1f\x7f-\x9f\ud800-\udfff]")

_HASH_NAME = re.compile(r"[\x20-\x7e]{0,100}")

#: Bytes of UTF-8; so that a long one costs no registry and no search anything.
LONGEST_IMAGE_ID = 255


def is_image_id(text: str) -> bool:
    """Whether an image can have this id (docs/wire.md, Routes)."""
    if not 0 < len(text) <= LONGEST_IMAGE_ID or text == "detail" or _NO_IMAGE_ID.search(text):
        return False
    return text.isascii() or len(text.encode()) <= LONGEST_IMAGE_ID


@dataclass(frozen=True)
class Location:
    """Where an image's data lies.

    It may hold credentials, so neither str() nor repr() shows it.

    :ivar url: the address, as the record has it.
    :ivar store: the name of the store that must open it; None for the first
        store that has the URL's scheme.
    """

    url: str
    store: str | None = None

    @property
    def scheme(self) -> str:
        """The URL's scheme in lower case; an empty text when it has none."""
        head, colon, _ = self.url.partition(":")
        return head.lower() if colon else ""

    def redacted(self) -> str:
        """The URL for an operator's eyes: without credentials, query and fragment."""
        return re.split(r"[?#]", re.sub(r"^([^:/]*:)?(//)?.*@", r"\1\2", self.url), maxsplit=1)[0]

    def __repr__(self) -> str:
        return "<Location>"


@dataclass(frozen=True, kw_only=True)
class Image:
    """The record of an image, as a registry answers with it.

    :ivar status: one of `STATUSES`.
    :ivar size: bytes; None where unknown, never 0 for unknown.
    :ivar virtual_size: bytes.
    :ivar checksum: the MD5 of the data, in hexadecimal.
    :ivar created_at, updated_at, deleted_at: in UTC; a naive time is UTC.
    :ivar min_ram: MiB.
    :ivar min_disk: GiB.
    :ivar owner: a project's id.
    :ivar properties: JSON values by name.
    :ivar locations: where the data lies, best first; empty when the first
        store finds it by the image's id.
    :ivar members: ids of the projects that share the image.
    :ivar os_hash_algo, os_hash_value: a hash by its name in hashlib, and its
        digest in hexadecimal; verified instead of the MD5 where there is one.
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

    def __post_init__(self) -> None:
        """Refuse what would open an image, or break its answer, by its type alone.

        :raises MalformedImage: a registry made it of something else.
        """
        for name in ("is_public", "protected", "deleted"):
            if not isinstance(getattr(self, name), bool):
                raise MalformedImage(f"{name} must be True or False")
        if not isinstance(self.members, frozenset):
            raise MalformedImage("members must be a frozenset of project ids")
        if self.size is not None and (isinstance(self.size, bool) or self.size < 0):
            raise MalformedImage("size must be a whole number, 0 or more, or None")
        self._check_hashes()
        if self.status not in STATUSES:
            raise MalformedImage(f"status must be one of {', '.join(sorted(STATUSES))}")

    def _check_hashes(self) -> None:
        if not isinstance(self.checksum, str | None) or len(self.checksum or "") > 128:
            raise MalformedImage("checksum must be a text of up to 128 characters, or None")
        name = self.os_hash_algo
        # Python's hashlib raises other errors for these than for a name that it does not know.
        if name is not None and not (isinstance(name, str) and _HASH_NAME.fullmatch(name)):
            raise MalformedImage("os_hash_algo must be the name of a hash, or None")

    @property
    def is_deleted(self) -> bool:
        """Deleted, by its flag or its status."""
        return self.deleted or self.status in DELETED

    @property
    def visibility(self) -> Visibility:
        """What decides who may know of it."""
        return Visibility(
            is_public=self.is_public,
            is_deleted=self.is_deleted,
            owner=self.owner,
            members=self.members,
        )

    @property
    def is_active(self) -> bool:
        """Whether its data may be served at all."""
        return self.status == "active" and not self.deleted


_LEAVES = frozenset({str, int, bool, float, datetime, type(None)})
_FIELDS = attrgetter(*(field.name for field in fields(Image)))


def weight_of(value: object) -> int:
    """About how many bytes a value takes in memory, with all that it holds.

    Rather too many than too few: what is shared counts each time.

    :param value: images, errors about them, locations, texts, JSON values, and
        collections of them.
    """
    weight = 0
    waiting = [value]
    while waiting:
        one = waiting.pop()
        weight += sys.getsizeof(one)
        # Most are leaves, and each record that is read anew is weighed.
        if type(one) in _LEAVES:
            continue
        if isinstance(one, tuple | list | frozenset):
            waiting.extend(one)
        elif isinstance(one, Mapping):
            # A proxy does not tell the size of what is behind it.
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
