# SPDX-License-Identifier: Apache-2.0
"""The records that all modules share: an image, and the location of its data."""

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import InitVar, dataclass, field, fields
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

_HEX = frozenset("0123456789abcdefABCDEF")

_TEXT_TYPES = frozenset({str, type(None)})
_TEXT_NAMES = (
    "name",
    "disk_format",
    "container_format",
    "checksum",
    "os_hash_algo",
    "os_hash_value",
)
_TEXTS = attrgetter(*_TEXT_NAMES)
_TIME_TYPES = frozenset({datetime, type(None)})
_TIME_NAMES = ("created_at", "updated_at", "deleted_at")
_TIMES = attrgetter(*_TIME_NAMES)
_COUNT_NAMES = ("size", "virtual_size", "min_ram", "min_disk")
_COUNTS = attrgetter(*_COUNT_NAMES)

#: In bytes of UTF-8.  The limit keeps long ids from registries and searches.
LONGEST_IMAGE_ID = 255


def is_image_id(text: str) -> bool:
    """Whether an image can have this id (docs/wire.md, Routes)."""
    if not 0 < len(text) <= LONGEST_IMAGE_ID or text == "detail" or _NO_IMAGE_ID.search(text):
        return False
    return text.isascii() or len(text.encode()) <= LONGEST_IMAGE_ID


def is_hash_name(text: str) -> bool:
    """Whether hashlib can be asked for this hash: for other names it raises other errors."""
    return _HASH_NAME.fullmatch(text) is not None


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

    def __post_init__(self) -> None:
        """Check the types.

        :raises MalformedImage: the url is no text, or the store is neither a text nor None.
            The text shows no value, because a location may contain credentials.
        """
        if not isinstance(self.url, str):
            raise MalformedImage(f"a location's url must be a text, not {type(self.url).__name__}")
        if self.store is not None and not isinstance(self.store, str):
            kind = type(self.store).__name__
            raise MalformedImage(f"a location's store must be a text or None, not {kind}")

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
    # Only `document.parse` sets it: it has checked the same values, and shows those of its
    # document in its messages.
    _is_checked: InitVar[bool] = False

    def __post_init__(self, _is_checked: bool) -> None:
        """Check the types of all fields, and the values that would break a response.

        The values of properties are not checked.

        :raises MalformedImage: a field has another type, or is not possible.  The text names
            the field and shows its value; it never shows a location.
        """
        if _is_checked:
            return
        _check_visibility(self)
        try:
            _check_fields(self)
        except MalformedImage as error:
            raise MalformedImage(str(error), self.visibility) from None

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


def _check_visibility(image: Image) -> None:
    """Check the fields that decide who may know of the image."""
    for name, value in (
        ("is_public", image.is_public),
        ("protected", image.protected),
        ("deleted", image.deleted),
    ):
        if not isinstance(value, bool):
            raise _wrong(name, "must be True or False", value)
    if not isinstance(image.status, str) or image.status not in STATUSES:
        raise _wrong("status", f"must be one of {', '.join(sorted(STATUSES))}", image.status)
    if image.owner is not None and not isinstance(image.owner, str):
        raise _wrong("owner", "must be a text or None", image.owner)
    members = image.members
    if not isinstance(members, frozenset) or not all(isinstance(one, str) for one in members):
        raise _wrong("members", "must be a frozenset of project ids", members)


def _check_fields(image: Image) -> None:
    # For speed, the usual types of all fields of a kind are tested at once.
    if not _TEXT_TYPES.issuperset(map(type, _TEXTS(image))):
        _check_each(image, _TEXT_NAMES, str, "must be a text or None")
    if not isinstance(image.id, str):
        raise _wrong("id", "must be a text", image.id)
    if not _TIME_TYPES.issuperset(map(type, _TIMES(image))):
        _check_each(image, _TIME_NAMES, datetime, "must be a datetime or None")
    _check_counts(image)
    _check_hashes(image)
    if not isinstance(image.properties, Mapping) or not all(
        isinstance(name, str) for name in image.properties
    ):
        raise _wrong("properties", "must be a mapping whose names are texts", image.properties)
    locations = image.locations
    if not isinstance(locations, tuple) or not all(isinstance(one, Location) for one in locations):
        # No entry is shown: it may contain credentials.
        kind = type(locations).__name__
        raise MalformedImage(f"locations must be a tuple of imageapi.image.Location, not {kind}")


def _check_each(image: Image, names: Iterable[str], kind: type, rule: str) -> None:
    for name in names:
        value = getattr(image, name)
        if value is not None and not isinstance(value, kind):
            raise _wrong(name, rule, value)


def _check_counts(image: Image) -> None:
    for name, count in zip(_COUNT_NAMES, _COUNTS(image), strict=True):
        or_none = "" if name in ("min_ram", "min_disk") else ", or None"
        if count is None and or_none:
            continue
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise _wrong(name, f"must be a whole number, 0 or more{or_none}", count)


def _check_hashes(image: Image) -> None:
    checksum, name, digest = image.checksum, image.os_hash_algo, image.os_hash_value
    if checksum is not None and not (len(checksum) == 32 and _HEX.issuperset(checksum)):
        raise _wrong("checksum", "must be an MD5, 32 hexadecimal digits, or None", checksum)
    if name is not None and not is_hash_name(name):
        raise _wrong("os_hash_algo", "must be the name of a hash in ASCII, or None", name)
    if digest is not None and not _HEX.issuperset(digest):
        raise _wrong("os_hash_value", "must consist of hexadecimal digits, or be None", digest)


def _wrong(name: str, rule: str, value: object) -> MalformedImage:
    is_shown = isinstance(value, str | int | float | None)
    shown = f"{value!r:.100}" if is_shown else type(value).__name__
    return MalformedImage(f"{name} {rule}, not {shown}")


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
