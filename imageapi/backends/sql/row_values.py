# SPDX-License-Identifier: Apache-2.0
"""A record -> the values of its rows, as Glance 33 writes them."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from imageapi.backends.sql.list_statement import time_text
from imageapi.backends.sql.locations import Encryption
from imageapi.backends.sql.schema import Schema
from imageapi.backends.writing import WriteError
from imageapi.image import Image, Location
from imageapi.protocol.value_text import text_of, without_surrogates

# Of the columns, in characters.  SQLite would store longer texts, which Glance cannot read.
_LONGEST = {
    "id": 36,
    "name": 255,
    "owner": 255,
    "disk_format": 20,
    "container_format": 20,
    "checksum": 32,
    "os_hash_algo": 64,
    "os_hash_value": 128,
}
_LONGEST_NAME = 255
_LARGEST_NUMBERS = {"size": 2**63, "virtual_size": 2**63, "min_disk": 2**31, "min_ram": 2**31}


def image_values(schema: Schema, image: Image) -> dict[str, Any]:
    """Return the values of the row of ``images``, but for ``id`` and who may know of it.

    :raises WriteError: a value does not fit into its column.
    """
    now = datetime.now(UTC)
    values: dict[str, Any] = {
        "name": image.name,
        "status": image.status,
        "disk_format": image.disk_format,
        "container_format": image.container_format,
        "size": image.size,
        "virtual_size": image.virtual_size,
        "checksum": image.checksum,
        "min_disk": image.min_disk,
        "min_ram": image.min_ram,
        "owner": image.owner,
        "protected": image.protected,
        "created_at": time_text(image.created_at or now),
        "updated_at": time_text(image.updated_at or now),
        "os_hash_algo": image.os_hash_algo,
        "os_hash_value": image.os_hash_value,
    }
    _check(image.id, values)
    return {name: value for name, value in values.items() if name in schema.names}


def _check(image_id: str, values: Mapping[str, Any]) -> None:
    for name, longest in _LONGEST.items():
        text = image_id if name == "id" else values[name]
        if text is not None and len(text) > longest:
            raise WriteError(f"{name} has {len(text)} characters; the database takes {longest}")
    for name, limit in _LARGEST_NUMBERS.items():
        if (values[name] or 0) >= limit:
            raise WriteError(f"{name} is {values[name]}; the database takes less than {limit}")
    if not image_id.isascii():
        raise WriteError("the id of an image in a database must be ASCII")


def property_texts(image: Image) -> dict[str, str]:
    """Return the texts of the properties; a property without a value has no row.

    :raises WriteError: a name does not fit into its column.
    """
    texts = {name: text_of(value) for name, value in image.properties.items()}
    for name in texts:
        if len(name) > _LONGEST_NAME:
            raise WriteError(f"the property {name:.40} ... has a name of {len(name)} characters")
    return {
        without_surrogates(name): without_surrogates(text)
        for name, text in texts.items()
        if text is not None
    }


def location_values(location: Location, encryption: Encryption) -> dict[str, Any]:
    """Return the values of a row of ``image_locations``, but for its image and times."""
    metadata = {} if location.store is None else {"store": location.store}
    return {
        "value": encryption.encrypted(location.url),
        "meta_data": json.dumps(metadata),
        "status": "active",
    }
