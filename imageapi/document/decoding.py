# SPDX-License-Identifier: Apache-2.0
"""The bytes of a document -> JSON values, within bounds of time and memory."""

import json
import math
import re
from typing import Any, NoReturn

from imageapi.errors import MalformedImage
from imageapi.protocol.value_text import not_utf8

# Limits the members of objects and the items of lists together.  By default, Glance
# allows 128 properties, 128 members and 10 locations.
_MOST_VALUES = 3000

# The largest float has as many digits.  The time to read or write a whole number grows
# with the square of its digits.
_MOST_DIGITS = 309

# A JSON string, up to its closing quote or the end of the data.  The possessive
# quantifiers never backtrack.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)


def decoded(data: bytes) -> Any:
    """Return the JSON value of a document.

    :param data: the document's bytes, in UTF-8.
    :raises MalformedImage: it is not JSON, or has too many values or digits.
    """
    _check_value_count(data)
    try:
        return _DECODER.decode(_text_of(data))
    except (ValueError, RecursionError) as error:
        raise MalformedImage(f"not JSON: {error}") from None


def _text_of(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # Python counts without a byte order mark.
        before = len(data) - len(error.object)
        raise MalformedImage(not_utf8(error, before)) from None


def _check_value_count(data: bytes) -> None:
    """Refuse a document with too many values before decoding, which takes time for each."""
    if _structure(data) <= _MOST_VALUES:
        return  # most records end here, although commas and brackets in strings are counted
    # Each value has at most two strings: itself and its name.
    most_strings = 2 * _MOST_VALUES
    around_strings = _STRING.split(data, maxsplit=most_strings + 1)
    if (
        len(around_strings) > most_strings + 1
        or _structure(b"".join(around_strings)) > _MOST_VALUES
    ):
        raise MalformedImage(f"the record has more than {_MOST_VALUES} values")


def _structure(data: bytes) -> int:
    """Return the highest possible number of values: each follows a comma or a bracket."""
    return data.count(b",") + data.count(b"[") + data.count(b"{")


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")


def _whole(text: str) -> int:
    if len(text.lstrip("-")) > _MOST_DIGITS:
        raise ValueError(f"{text:.40} is too large a number")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text:.40} is too large a number")
    return number


# Created once, because json.loads() would create one for each document.
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite, parse_int=_whole)
