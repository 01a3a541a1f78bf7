# SPDX-License-Identifier: Apache-2.0
"""The text of an image's values, in headers and in documents (docs/wire.md)."""

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
SURROGATE = re.compile(r"[\ud800-\udfff]")


def text_of(value: Any) -> str | None:
    """Return the text of a field or property; None for None, which is not sent."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return format(Decimal(repr(value)), "f")
    if isinstance(value, datetime):
        return in_utc(value).isoformat(timespec="microseconds")
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def in_utc(time: datetime) -> datetime:
    """Return the same time in UTC, without its zone; a naive time is already UTC."""
    return time if time.tzinfo is None else time.astimezone(UTC).replace(tzinfo=None)


def without_surrogates(text: str) -> str:
    """Return the text with U+FFFD instead of lone surrogates, which UTF-8 cannot encode."""
    return text if text.isascii() else SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)


def not_utf8(error: UnicodeDecodeError, before: int = 0) -> str:
    """Return the text of an error in data that must be UTF-8.

    :param before: how many bytes of the data precede those that were decoded.
    """
    byte, offset = error.object[error.start], before + error.start
    return f"not UTF-8: byte 0x{byte:02x} at offset {offset}; encode the text in UTF-8"


def header_text(text: str) -> str:
    """Return a value in the form that WSGI requires: UTF-8 bytes, decoded as latin-1.

    A space replaces each control character, so that no value can end its header line.
    """
    if text.isascii() and text.isprintable():
        return text
    text = CONTROL.sub(" ", text)
    return without_surrogates(text).encode().decode("latin-1")
