# SPDX-License-Identifier: Apache-2.0
"""The text of an image's values, on the wire and in documents (docs/wire.md)."""

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
SURROGATE = re.compile(r"[\ud800-\udfff]")


def text_of(value: Any) -> str | None:
    """The text of a field or property; None for None, which is not sent."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool | int):
        return str(value)
    if isinstance(value, float):
        return format(Decimal(repr(value)), "f")
    if isinstance(value, datetime):
        return in_utc(value).isoformat(timespec="microseconds")
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def in_utc(time: datetime) -> datetime:
    """The same time in UTC, without its zone; a naive time is UTC already."""
    return time if time.tzinfo is None else time.astimezone(UTC).replace(tzinfo=None)


def without_surrogates(text: str) -> str:
    """The text with U+FFFD for what UTF-8 cannot carry."""
    return text if text.isascii() else SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)


def header_text(text: str) -> str:
    """A value as WSGI wants it: UTF-8 bytes, decoded as latin-1.

    Each control character becomes a space, so no value can end its line.
    """
    if text.isascii() and text.isprintable():
        return text
    text = CONTROL.sub(" ", text)
    return without_surrogates(text).encode().decode("latin-1")
