# SPDX-License-Identifier: Apache-2.0
"""Reads image documents in JSON, in two shapes.

The shape of the seed, Image API v1, has the fields, a ``properties`` object and times
such as ``2010-02-03 09:34:01``.  It may be inside ``{"images": [...]}``.  Glance's flat
v2 shape is recognized by its ``visibility``; its custom properties are at the top level.
docs/records.md describes both for authors of records.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from imageapi.document.decoding import decoded
from imageapi.document.unknown_keys import unknown_keys
from imageapi.errors import MalformedImage
from imageapi.image import DELETED, STATUSES, Image, Location, is_hash_name
from imageapi.protocol.value_text import in_utc
from imageapi.visibility import Visibility

_VISIBILITIES = ("community", "private", "public", "shared")

# Top-level names of the v2 shape that are not custom properties.
V2_NAMES = frozenset(
    """
    checksum container_format created_at deleted deleted_at direct_url disk_format file id
    location locations min_disk min_ram name os_hash_algo os_hash_value os_hidden owner
    protected schema self size status stores tags updated_at virtual_size visibility
    """.split()
)

# Python's own limit is far higher, but it depends on the depth of the calls.  imageapi
# must be able to write each record that it can read.
_DEEPEST = 100

# At each request, each location may be opened, and may cause an error in the log.
_MOST_LOCATIONS = 32

_HEX = frozenset("0123456789abcdefABCDEF")


def parse(data: bytes, image_id: str) -> Image:
    """Return the image that a JSON document describes.

    :param data: the document's bytes, in UTF-8.
    :param image_id: the requested id; a document may omit its own.
    :raises MalformedImage: the document is malformed; the text says what is wrong.
    """
    fields = _unwrapped(decoded(data))
    own_id = _text(fields, "id")
    if own_id is not None and own_id != image_id:
        raise MalformedImage(f"it is the record of another image, {own_id!r:.100}")
    try:
        return image_of(fields, image_id)
    except MalformedImage as error:
        raise MalformedImage(str(error), _visibility(fields)) from None


def found(data: bytes, image_id: str, where: str) -> Image | MalformedImage:
    """Return the result of `parse`, an image or an error, so that it can be remembered.

    :param where: the document's path or URL; the error's text begins with it.
    """
    try:
        return parse(data, image_id)
    except MalformedImage as error:
        return MalformedImage(f"{where}: {error}", error.visibility)


def image_of(fields: Mapping[str, Any], image_id: str) -> Image:
    """Return the image of a decoded document."""
    algorithm, digest = _os_hash(fields)
    return Image(
        id=image_id,
        status=_status(fields),
        name=_text(fields, "name"),
        disk_format=_text(fields, "disk_format"),
        container_format=_text(fields, "container_format"),
        size=_count(fields, "size"),
        virtual_size=_count(fields, "virtual_size"),
        checksum=_checksum(fields),
        created_at=_time(fields, "created_at"),
        updated_at=_time(fields, "updated_at"),
        deleted_at=_time(fields, "deleted_at"),
        is_public=_is_public(fields),
        protected=_flag(fields, "protected"),
        deleted=_flag(fields, "deleted"),
        min_ram=_count(fields, "min_ram") or 0,
        min_disk=_count(fields, "min_disk") or 0,
        owner=_text(fields, "owner") or None,
        properties=MappingProxyType(_properties(fields)),
        locations=tuple(_locations(fields)),
        members=_members(fields),
        os_hash_algo=algorithm,
        os_hash_value=digest,
        unknown_keys=unknown_keys(fields, is_v2=_is_v2(fields)),
        _is_checked=True,
    )


def _unwrapped(document: Any) -> Mapping[str, Any]:
    """Return the image of a document, also from ``{"images": [...]}`` or ``{"image": {...}}``.

    A glance-registry sends the last of these.
    """
    if isinstance(document, dict) and isinstance(document.get("images"), list):
        images = document["images"]
        if len(images) != 1:
            raise MalformedImage(f'"images" must contain one image, not {len(images)}')
        document = images[0]
    elif isinstance(document, dict) and document.keys() == {"image"}:
        document = document["image"]
    if not isinstance(document, dict):
        raise MalformedImage(f"an image must be a JSON object, not {_kind(document)}")
    return document


def _visibility(fields: Mapping[str, Any]) -> Visibility:
    """Return who may know of an image with a malformed record; by default, only admins."""
    try:
        return Visibility(
            is_public=_is_public(fields),
            is_deleted=_flag(fields, "deleted") or _status(fields) in DELETED,
            owner=_text(fields, "owner") or None,
            members=_members(fields),
        )
    except MalformedImage:
        return Visibility()


def _text(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if value is None or isinstance(value, str):
        return value
    raise _wrong(name, "must be a text or null", value)


def _flag(fields: Mapping[str, Any], name: str) -> bool:
    value = fields.get(name, False)
    if isinstance(value, bool):
        return value
    raise _wrong(name, "must be true or false", value)


def _count(fields: Mapping[str, Any], name: str) -> int | None:
    """Return a whole number, also from a text, because the seed writes sizes as texts."""
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise _wrong(name, "must be a whole number, 0 or more", value)


def _time(fields: Mapping[str, Any], name: str) -> datetime | None:
    value = fields.get(name)
    if value is None or value == "":
        return None
    try:
        return in_utc(datetime.fromisoformat(value))
    except (TypeError, ValueError, OverflowError):
        raise _wrong(name, "must be a time such as 2010-02-03 09:34:01", value) from None


def _status(fields: Mapping[str, Any]) -> str:
    value = fields.get("status")
    if isinstance(value, str) and value in STATUSES:
        return value
    raise _wrong("status", f"must be one of {', '.join(sorted(STATUSES))}", value)


def _is_v2(fields: Mapping[str, Any]) -> bool:
    return "visibility" in fields


def _is_public(fields: Mapping[str, Any]) -> bool:
    if not _is_v2(fields):
        return _flag(fields, "is_public")
    value = fields["visibility"]
    if value in _VISIBILITIES:
        return bool(value == "public")
    raise _wrong("visibility", f"must be one of {', '.join(_VISIBILITIES)}", value)


def _checksum(fields: Mapping[str, Any]) -> str | None:
    value = _text(fields, "checksum")
    if value is None or (len(value) == 32 and _HEX.issuperset(value)):
        return value
    raise _wrong("checksum", "must be an MD5, 32 hexadecimal digits", value)


def _os_hash(fields: Mapping[str, Any]) -> tuple[str | None, str | None]:
    algorithm, digest = _text(fields, "os_hash_algo"), _text(fields, "os_hash_value")
    if bool(algorithm) != bool(digest):
        raise MalformedImage("os_hash_algo and os_hash_value must both be set, or neither")
    if algorithm and not is_hash_name(algorithm):
        raise _wrong("os_hash_algo", "must be the name of a hash in ASCII", algorithm)
    if digest and not _HEX.issuperset(digest):
        raise _wrong("os_hash_value", "must consist of hexadecimal digits", digest)
    return algorithm or None, digest or None


def _properties(fields: Mapping[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any]
    if _is_v2(fields):
        # A list ``members`` is a field of imageapi.  A text of that name is a custom
        # property; in Glance the owner of an image can set it.
        properties = {
            name: value
            for name, value in fields.items()
            if name not in V2_NAMES and not (name == "members" and isinstance(value, list))
        }
    else:
        value = fields.get("properties")
        if not isinstance(value, dict | None):
            raise _wrong("properties", "must be a JSON object", value)
        properties = value or {}
    _check_depth(properties)
    return properties


def _check_depth(properties: dict[str, Any]) -> None:
    level: list[Any] = [properties]
    for _ in range(_DEEPEST + 1):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, list | dict)
        ]
        if not level:
            return
    raise MalformedImage(f"properties are nested more than {_DEEPEST} levels deep")


def _members(fields: Mapping[str, Any]) -> frozenset[str]:
    value = fields.get("members")
    if value is None or (_is_v2(fields) and isinstance(value, str)):
        return frozenset()
    if isinstance(value, list) and all(isinstance(member, str) for member in value):
        return frozenset(value)
    raise _wrong("members", "must be a list of project ids", value)


def _locations(fields: Mapping[str, Any]) -> Iterable[Location]:
    """Return ``locations``; if absent, ``location``; if absent, Glance's ``direct_url``."""
    several = fields.get("locations")
    if several is not None and not isinstance(several, list):
        raise MalformedImage("locations must be a list")
    if several and len(several) > _MOST_LOCATIONS:
        raise MalformedImage(
            f"locations must have at most {_MOST_LOCATIONS} entries, not {len(several)}"
        )
    if several:
        return [_location(entry) for entry in several]
    one = fields.get("location")
    if one is None or one == "":
        one = fields.get("direct_url")
    return [] if one is None or one == "" else [_location(one)]


def _location(entry: Any) -> Location:
    metadata: Any = {}
    if isinstance(entry, dict):
        metadata = entry.get("metadata") or {}
        entry = entry.get("url")
    # From here on, no value is shown: a location may contain credentials.
    if not isinstance(entry, str) or not entry:
        raise MalformedImage('a location must be a URL, or {"url": URL, "metadata": {...}}')
    store = metadata.get("store") if isinstance(metadata, dict) else ()
    if store is not None and not isinstance(store, str):
        raise MalformedImage("a location's metadata must be an object, and its store a text")
    return Location(entry, store)


def _wrong(name: str, rule: str, value: Any) -> MalformedImage:
    shown = f"{value!r:.100}" if isinstance(value, str | int | float) else _kind(value)
    return MalformedImage(f"{name} {rule}, not {shown}")


def _kind(value: Any) -> str:
    names: dict[type, str] = {dict: "an object", list: "a list", type(None): "null"}
    return names.get(type(value), type(value).__name__)
