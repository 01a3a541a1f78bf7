# SPDX-License-Identifier: Apache-2.0
"""Image -> the headers of its details and of its data (docs/wire.md, GET of an image: 200)."""

import re
from collections.abc import Mapping
from operator import attrgetter
from typing import Any, NamedTuple

from imageapi.image import Image
from imageapi.protocol.value_text import CONTROL, SURROGATE, header_text, text_of

HeaderLine = tuple[str, str]

BINARY: HeaderLine = ("Content-Type", "application/octet-stream")

# In bytes of a value, and in characters of a key.  Servers and proxies refuse larger headers.
_LONGEST_VALUE = 8000
_LONGEST_KEY = 255

# In bytes of all lines, with their names and line ends.  uWSGI refuses a response whose headers
# have more than 65,536 bytes, whatever its configuration says.  The rest is for the headers that
# are not made here, above all the image's URI, which has the client's Host.  All fields fit, even
# the longest ones: so only properties are left out for this.
_MOST_BYTES = 48 * 1024

# For each image.  The author of its record, and its clients, must not flood the log.
_MOST_NOTES = 10

# The order in which fields are sent.  No other fields are sent, because clients refuse them.
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


_TOO_LONG = f"its value has more than {_LONGEST_VALUE} bytes"
_NO_ROOM = f"with it, the X-Image-Meta headers would have more than {_MOST_BYTES} bytes"


class MetaHeaders(NamedTuple):
    """The headers with an image's details.

    :ivar lines: names and values, in the order in which they are sent.
    :ivar notes: for the log, one sentence for each value that is changed or not sent.
        After ten of them, one sentence counts the rest.
    """

    lines: tuple[HeaderLine, ...]
    notes: tuple[str, ...]


def data_headers(image: Image, length: int | None, ranges: bool) -> list[HeaderLine]:
    """Return the headers that describe the body of a response with an image's data.

    :param length: of the body, in bytes; None if unknown.
    :param ranges: whether clients may request a part.
    """
    headers = [BINARY]
    if length is not None:
        headers.append(("Content-Length", str(length)))
    if image.checksum:
        headers.append(("Etag", header_text(image.checksum)))
    if ranges:
        headers.append(("Accept-Ranges", "bytes"))
    return headers


def meta_headers(image: Image, max_properties: int) -> MetaHeaders:
    """Return the x-image-meta headers of an image.

    :param max_properties: how many properties are sent at most.
    """
    notes = _Notes()
    lines = _Lines(notes)
    for name, value in zip(_NAMES, _VALUES(image), strict=True):
        text = text_of(value)
        if text is None:
            continue
        reason = lines.add(name, text)
        if reason:
            notes.add("{} is not sent: {}", name, reason)
    _add_properties(image.properties, max_properties, lines, notes)
    return MetaHeaders(tuple(lines.sent), notes.sentences())


class _Notes:
    """Collects the first sentences; only counts further ones, without formatting them."""

    def __init__(self) -> None:
        self._first: list[str] = []
        self._further = 0

    def add(self, form: str, *about: object) -> None:
        if len(self._first) < _MOST_NOTES:
            self._first.append(form.format(*about))
        else:
            self._further += 1

    def sentences(self) -> tuple[str, ...]:
        rest = [f"further problems that are not listed: {self._further}"] if self._further else []
        return (*self._first, *rest)


def _note_cleaning(text: str, what: str, notes: _Notes) -> None:
    if CONTROL.search(text):
        notes.add("{}: control characters are sent as spaces", what)
    if not text.isascii() and SURROGATE.search(text):
        notes.add("{}: lone surrogates, which UTF-8 cannot encode, are sent as U+FFFD", what)


class _Lines:
    """Collects the lines that are sent, up to the number of bytes for all of them."""

    def __init__(self, notes: _Notes) -> None:
        self.sent: list[HeaderLine] = []
        self._notes = notes
        self._bytes = 0

    def add(self, name: str, text: str) -> str:
        """Add a line; return the reason if it cannot be sent, else an empty text."""
        if len(text) > _LONGEST_VALUE:
            return _TOO_LONG  # this avoids cleaning a text that is much too long
        value = header_text(text)
        if len(value) > _LONGEST_VALUE:
            return _TOO_LONG
        length = len(name) + len(value) + len(": \r\n")
        if self._bytes + length > _MOST_BYTES:
            return _NO_ROOM
        self._bytes += length
        self.sent.append((name, value))
        if value is not text:  # most texts are sent as they are
            _note_cleaning(text, name, self._notes)
        return ""


def _add_properties(
    properties: Mapping[str, Any], limit: int, lines: _Lines, notes: _Notes
) -> None:
    sent = 0
    seen: set[str] = set()
    for key in sorted(properties, key=lambda key: (key.lower(), key)):
        value = properties[key]
        if value is None:
            continue
        lowered = key.lower()
        # In this order, so that a value beyond the limit is not converted.
        if lowered in seen:
            reason = "it differs from another key only by case"
        elif sent >= limit:
            reason = f"only max_property_headers = {limit} properties are sent"
        else:
            reason = _add_property(key, value, lines)
        seen.add(lowered)
        if reason:
            notes.add("property {!r:.100} is not sent: {}", key, reason)
        else:
            sent += 1


def _add_property(key: str, value: Any, lines: _Lines) -> str:
    """Add a property's line; return the reason if it cannot be sent, else an empty text."""
    if len(key) > _LONGEST_KEY:
        return f"its key has more than {_LONGEST_KEY} characters"
    if not _TOKEN.fullmatch(key):
        return "its key is not an HTTP token (RFC 9110, 5.6.2)"
    name = "-".join(part.capitalize() for part in key.lower().split("-"))
    text = text_of(value) or ""  # it has a text: None was left out
    return lines.add(f"X-Image-Meta-Property-{name}", text)
