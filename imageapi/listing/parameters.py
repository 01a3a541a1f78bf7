# SPDX-License-Identifier: Apache-2.0
"""The query of a list's URL -> the registry's query, or 400 (docs/wire.md, Lists)."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn, TypeVar
from urllib.parse import unquote_to_bytes

import iso8601
from webob import exc

from imageapi.backends.listing import SORT_KEYS, ListQuery
from imageapi.caller import Caller
from imageapi.protocol.value_text import in_utc

_TEXTS = ("name", "status", "container_format", "disk_format")
_PROPERTY = "property-"

#: The names of all parameters, besides those that begin with ``property-``.
NAMES = frozenset(
    """
    changes-since container_format disk_format is_public limit marker min_disk min_ram name
    protected size_max size_min sort_dir sort_key status
    """.split()
)

# As many digits as no size has.  The time to read a number grows with the square of its digits.
_WHOLE = re.compile(r"\s*\+?([0-9]{1,40})\s*", re.ASCII)

# A value of "in:": in quotes, so that it may contain commas, or up to the next comma.
# In quotes, a backslash says that the next character is part of the value.
_ITEM = re.compile(r'"((?:[^"\\]|\\.)*)"|([^",]*)', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)

_FLAGS: Mapping[str, bool | None] = {"true": True, "1": True, "false": False, "0": False}

T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """How many images a list has.

    :ivar default: if the request has no ``limit``.
    :ivar largest: at most, whatever the request says.
    """

    default: int
    largest: int


@dataclass(frozen=True)
class ListParameters:
    """What a request for a list says.

    :ivar query: without the image of the marker, which is not looked up here.
    :ivar marker: the id of the image after which the list begins; None for the whole list.
    """

    query: ListQuery
    marker: str | None


def parse_list_parameters(query_string: str, caller: Caller, limits: Limits) -> ListParameters:
    """Read the query of a request for a list.  Unknown parameters are ignored.

    Of a repeated parameter, the last one counts.

    :param query_string: percent-encoded, without the question mark.
    :param caller: decides which images are listed, and whether ``is_public`` has an effect.
    :raises exc.HTTPBadRequest: a value is invalid; the text names it.
    """
    given = _parameters(query_string)
    # Glance examines these in this order, so that the first error is the same.
    size_min, size_max, min_ram, min_disk = (
        _optional(given, name, _whole) for name in ("size_min", "size_max", "min_ram", "min_disk")
    )
    protected = _optional(given, "protected", _flag)
    is_public = _optional(given, "is_public", _flag_or_none)
    changed_after = _optional(given, "changes-since", _time)
    limit = _whole("limit", given["limit"]) if "limit" in given else limits.default
    sort_key = _choice(given, "sort_key", "created_at", SORT_KEYS)
    sort_dir = _choice(given, "sort_dir", "desc", ("asc", "desc"))
    numbers = {"min_ram": min_ram, "min_disk": min_disk}
    query = ListQuery(
        all_projects=caller.is_admin and "is_public" in given,
        project_id=caller.project_id,
        is_public=is_public if caller.is_admin else None,
        shows_deleted=caller.is_admin and changed_after is not None,
        texts={name: _texts(name, given[name]) for name in _TEXTS if name in given},
        numbers={name: number for name, number in numbers.items() if number is not None},
        size_min=size_min,
        size_max=size_max,
        protected=protected,
        properties={
            name.removeprefix(_PROPERTY): text
            for name, text in given.items()
            if name.startswith(_PROPERTY)
        },
        changed_after=changed_after,
        sort_key=sort_key,
        descending=sort_dir == "desc",
        limit=min(limit, limits.largest),
    )
    return ListParameters(query, given.get("marker"))


def _parameters(query_string: str) -> dict[str, str]:
    given = {}
    # Glance accepts both separators.
    for part in query_string.replace(";", "&").split("&"):
        name, _, text = part.partition("=")
        given[_decoded(name)] = _decoded(text)
    return given


def _decoded(text: str) -> str:
    # In WSGI, the bytes of a query are decoded as latin-1.  Some clients do not percent-encode
    # them, so the text may have bytes of both kinds.
    try:
        return unquote_to_bytes(text.replace("+", " ").encode("latin-1")).decode()
    except UnicodeError:
        raise exc.HTTPBadRequest("The query of the URL is not UTF-8.") from None


def _optional(
    given: Mapping[str, str], name: str, read: Callable[[str, str], T | None]
) -> T | None:
    return read(name, given[name]) if name in given else None


def _whole(name: str, text: str) -> int:
    found = _WHOLE.fullmatch(text)
    if found is None:
        _refuse(name, text, "a whole number, 0 or more")
    return int(found[1])


def _flag(name: str, text: str) -> bool | None:
    if text.lower() not in _FLAGS:
        _refuse(name, text, "true or false")
    return _FLAGS[text.lower()]


def _flag_or_none(name: str, text: str) -> bool | None:
    if text.lower() == "none":
        return None
    if text.lower() not in _FLAGS:
        _refuse(name, text, "true, false or none")
    return _FLAGS[text.lower()]


def _time(name: str, text: str) -> datetime:
    try:
        return in_utc(iso8601.parse_date(text))
    except (iso8601.ParseError, OverflowError):
        _refuse(name, text, "a time in ISO 8601, such as 2010-02-03T09:34:01Z")


def _choice(given: Mapping[str, str], name: str, default: str, allowed: Iterable[str]) -> str:
    text = given.get(name, default)
    if text not in allowed:
        _refuse(name, text, f"one of {', '.join(allowed)}")
    return text


def _texts(name: str, text: str) -> frozenset[str]:
    operator, _, values = text.partition(":")
    if operator == "eq":
        return frozenset((values,))
    if operator == "in":
        return frozenset(_items(name, text, values))
    return frozenset((text,))


def _items(name: str, text: str, values: str) -> Iterable[str]:
    start = 0
    while start < len(values):
        item = _ITEM.match(values, start)
        if item is None or (item.end() < len(values) and values[item.end()] != ","):
            _refuse(name, text, 'in: and values between commas, such as in:a,"b,c"')
        yield item[2] if item[1] is None else _ESCAPED.sub(r"\1", item[1])
        start = item.end() + 1


def _refuse(name: str, text: str, allowed: str) -> NoReturn:
    raise exc.HTTPBadRequest(f"{name} must be {allowed}, not {text!r:.100}.")
