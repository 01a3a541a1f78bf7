# SPDX-License-Identifier: Apache-2.0
"""Writes an image as a v1 document: as a record, as details, or as an entry of a list."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from imageapi.image import Image, Location
from imageapi.protocol.value_text import in_utc, text_of, without_surrogates


def details(image: Image, uri: str) -> dict[str, Any]:
    """Return the v1 document of an image, with the seed's types, in ``{"images": [...]}``.

    :param uri: the image's own URL.
    """
    return details_of_all([(image, uri)])


def details_of_all(images: Iterable[tuple[Image, str]]) -> dict[str, Any]:
    """Return the v1 document of several images with their URLs, as `details` does of one."""
    return {"images": [{"uri": uri, **_v1_fields(image), "id": image.id} for image, uri in images]}


def in_brief(image: Image) -> dict[str, Any]:
    """Return an image as ``/v1/images`` lists it (docs/wire.md, Lists)."""
    return {
        "id": without_surrogates(image.id),
        "name": _text(image.name),
        "size": image.size,
        "disk_format": _text(image.disk_format),
        "container_format": _text(image.container_format),
        "checksum": _text(image.checksum),
    }


def in_detail(image: Image) -> dict[str, Any]:
    """Return an image as ``/v1/images/detail`` lists it (docs/wire.md, Lists)."""
    return {
        **in_brief(image),
        "status": image.status,
        "virtual_size": image.virtual_size,
        "created_at": text_of(image.created_at),
        "updated_at": text_of(image.updated_at),
        "deleted_at": text_of(image.deleted_at),
        "deleted": image.deleted,
        "is_public": image.is_public,
        "protected": image.protected,
        "min_ram": image.min_ram,
        "min_disk": image.min_disk,
        "owner": _text(image.owner),
        "properties": {
            without_surrogates(key): _text(value) for key, value in image.properties.items()
        },
    }


def shared_images(images: Iterable[Image]) -> dict[str, Any]:
    """Return the v1 document of the images that are shared with a project."""
    return {"shared_images": [{"image_id": image.id, "can_share": False} for image in images]}


def members(project_ids: Iterable[str]) -> dict[str, Any]:
    """Return the v1 document of an image's members."""
    return {"members": [{"member_id": one, "can_share": False} for one in project_ids]}


def versions(url: str) -> dict[str, Any]:
    """Return the document of the API versions.

    :param url: of version 1, with a slash at its end.
    """
    links = [{"href": url, "rel": "self"}]
    names = ("v1.1", "v1.0")
    return {"versions": [{"id": name, "status": "SUPPORTED", "links": links} for name in names]}


def record(image: Image) -> dict[str, Any]:
    """Return the v1 document of an image, with all values that `parse` reads.

    `parse` turns it into the same image, with two exceptions: parts of seconds are
    dropped, and U+FFFD replaces lone surrogates in fields.  Properties are unchanged.
    """
    locations = locations_of(image.locations)
    return {
        "id": image.id,
        **_v1_fields(image),
        "properties": dict(image.properties),
        "virtual_size": image.virtual_size,
        "protected": image.protected,
        "deleted": image.deleted,
        "os_hash_algo": image.os_hash_algo,
        "os_hash_value": image.os_hash_value,
        **({"locations": locations} if locations else {}),
        **({"members": sorted(image.members)} if image.members else {}),
    }


def locations_of(locations: Iterable[Location]) -> list[dict[str, Any]]:
    """Return the value of ``locations`` in a record."""
    return [
        {"url": location.url, **({"metadata": {"store": location.store}} if location.store else {})}
        for location in locations
    ]


def _v1_fields(image: Image) -> dict[str, Any]:
    return {
        "name": _text(image.name),
        "disk_format": _text(image.disk_format),
        "container_format": _text(image.container_format),
        "size": _text(image.size),
        "checksum": _text(image.checksum),
        "created_at": _time(image.created_at),
        "updated_at": _time(image.updated_at),
        "deleted_at": _time(image.deleted_at) or "",
        "status": image.status,
        "is_public": image.is_public,
        "min_ram": image.min_ram,
        "min_disk": image.min_disk,
        "owner": _text(image.owner),
        "properties": {
            without_surrogates(key): _text(value)
            for key, value in image.properties.items()
            if value is not None
        },
    }


def _text(value: Any) -> str | None:
    text = text_of(value)
    return None if text is None else without_surrogates(text)


def _time(value: datetime | None) -> str | None:
    return None if value is None else in_utc(value).isoformat(" ", "seconds")
