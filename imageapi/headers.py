# SPDX-License-Identifier: Apache-2.0
"""Image -> the x-image-meta headers (docs/wire.md, GET of an image: 200)."""

import re
from collections.abc import Iterator, Mapping
from operator import attrgetter
from typing import Any, NamedTuple

from imageapi.image import Image
from imageapi.text import CONTROL, SURROGATE, header_text, text_of

HeaderLine = tuple[str, str]

_LONGEST_PROPERTY = 8000

# The one order in which fields are sent; clients refuse any other field.
_FIELDS = (
    "id",
    "name",
    "disk_format",
    "container_format",
    "size",
    "virtual_size",
    "checksum",
    "created_at",
    "updated_at",
    "deleted_at",
    "status",
    "is_public",
    "protected",
    "deleted",
    "min_ram",
    "min_disk",
    "owner",
)
_NAMES = tuple(f"X-Image-Meta-{field.capitalize()}" for field in _FIELDS)
_VALUES = attrgetter(*_FIELDS)

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


class MetaHeaders(NamedTuple):
    """What the image's details look like on the wire.

    :ivar lines: names and values, in the order in which they are sent.
    :ivar notes: a sentence for each thing that could not go as it is, for the log.
    """

    lines: tuple[HeaderLine, ...]
    notes: tuple[str, ...]


def meta_headers(image: Image, max_properties: int) -> MetaHeaders:
    """The x-image-meta headers of an image.

    :param max_properties: how many properties are sent at the most.
    """
    notes: list[str] = []
    lines = []
    for name, value in zip(_NAMES, _VALUES(image), strict=True):
        text = text_of(value)
        if text is not None:
            lines.append((name, _noted_header_text(text, name, notes)))
    lines.extend(_property_lines(image.properties, max_properties, notes))
    return MetaHeaders(tuple(lines), tuple(notes))


def _noted_header_text(text: str, what: str, notes: list[str]) -> str:
    if text.isascii() and text.isprintable():
        return text  # as header_text() would, without two searches for what is not there
    if CONTROL.search(text):
        notes.append(f"{what}: control characters are sent as spaces")
    if not text.isascii() and SURROGATE.search(text):
        notes.append(f"{what}: characters that UTF-8 cannot carry are sent as U+FFFD")
    return header_text(text)


def _property_lines(
    properties: Mapping[str, Any], limit: int, notes: list[str]
) -> Iterator[HeaderLine]:
    sent = 0
    seen: set[str] = set()
    for key in sorted(properties, key=lambda key: (key.lower(), key)):
        text = text_of(properties[key])
        if text is None:
            continue
        lowered = key.lower()
        reason = _not_sent(key, text)
        if lowered in seen:
            reason = "another key differs from it only by case"
        elif sent >= limit:
            reason = f"more than max_property_headers = {limit}"
        seen.add(lowered)
        if reason is not None:
            notes.append(f"property {key!r:.100} is left out: {reason}")
            continue
        sent += 1
        name = "-".join(part.capitalize() for part in lowered.split("-"))
        name = f"X-Image-Meta-Property-{name}"
        yield name, _noted_header_text(text, name, notes)


def _not_sent(key: str, text: str) -> str | None:
    """What of this property cannot be sent; None when all can."""
    if not _TOKEN.fullmatch(key):
        return "its key is not an HTTP token (RFC 9110, 5.6.2)"
    if len(header_text(text)) > _LONGEST_PROPERTY:
        return f"its value is over {_LONGEST_PROPERTY} bytes"
    return None
