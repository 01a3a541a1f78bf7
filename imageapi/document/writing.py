# SPDX-License-Identifier: Apache-2.0
"""Writes an image as a v1 document: as a record, or as details for clients."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from imageapi.image import Image, Location
from imageapi.protocol.value_text import in_utc, text_of, without_surrogates


def details(image: Image, uri: str) -> dict[str, Any]:
    """Return the v1 document of an image, with the seed's types, in ``{"images": [...]}``.

    :param uri: the image's own URL.
    """
    return {"images": [{"uri": uri, **_v1_fields(image), "id": image.id}]}


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
