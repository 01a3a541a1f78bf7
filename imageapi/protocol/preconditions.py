# SPDX-License-Identifier: Apache-2.0
"""If-*, Range and a size -> what to send.  Pure functions.

The source is RFC 9110, sections 13 (conditions) and 14 (ranges), read as
docs/wire.md says: entity tags may come bare, since v1 clients send the MD5
without quotes, and of ranges only a single one in bytes is honoured.
"""

import re
from enum import Enum
from typing import NamedTuple

# Longer than any honest single range; what is longer is not even parsed.
_LONGEST_RANGE = 256

_RANGE = re.compile(r"bytes=(?:([0-9]+)-([0-9]*)|-([0-9]+))", re.ASCII | re.IGNORECASE)

# One element of a list of entity tags: quoted, bare, or empty, which RFC 9110,
# 5.6.1.2 has recipients skip.  Leading blanks are matched possessively: trying
# again with fewer of them would take a time that grows with their square.
_ETAG = re.compile(r'[ \t]*+(?:(W/)?(?:"([^"]*)"|([^\s",]+)))?[ \t]*(?:,|\Z)')


class Refusal(Enum):
    """Why a request is not answered with the image."""

    NOT_MODIFIED = 304
    PRECONDITION_FAILED = 412
    RANGE_NOT_SATISFIABLE = 416


class Span(NamedTuple):
    """A part of the data, half-open: from byte start up to, not with, stop."""

    start: int
    stop: int


class _Tag(NamedTuple):
    weak: bool
    value: str


def evaluate(if_match: str | None, if_none_match: str | None, etag: str | None) -> Refusal | None:
    """Decide on If-Match and If-None-Match, in the order of RFC 9110, 13.2.2.

    :param etag: the image's checksum; None when it has none, and then only
        ``*`` matches.
    :returns: NOT_MODIFIED, PRECONDITION_FAILED, or None to go on.
    """
    if if_match is not None and not _matches(if_match, etag, weak_too=False):
        return Refusal.PRECONDITION_FAILED
    if if_none_match is not None and _matches(if_none_match, etag, weak_too=True):
        return Refusal.NOT_MODIFIED
    return None


def select_range(
    range_header: str | None, if_range: str | None, etag: str | None, size: int
) -> Span | Refusal | None:
    """Decide which part of the data a GET wants (RFC 9110, 14.2 and 13.1.5).

    :param size: of the whole data, in bytes.
    :returns: the span to send; RANGE_NOT_SATISFIABLE; or None for all of it,
        also where the header is absent or not one that is honoured.
    """
    if range_header is None or size == 0:
        return None
    span = _parse_range(range_header, size)
    if span is None or (if_range is not None and not _is_current(if_range, etag)):
        return None
    return span


def _parse_range(header: str, size: int) -> Span | Refusal | None:
    if len(header) > _LONGEST_RANGE:
        return None
    match = _RANGE.fullmatch(header.strip(" \t"))
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        length = min(int(suffix), size)
        return Span(size - length, size) if length else Refusal.RANGE_NOT_SATISFIABLE
    start = int(first)
    stop = int(last) + 1 if last else size
    if stop <= start and last:
        return None
    return Span(start, min(stop, size)) if start < size else Refusal.RANGE_NOT_SATISFIABLE


def _is_current(if_range: str, etag: str | None) -> bool:
    """If-Range wants a strong match; a date never matches, as no Last-Modified is sent."""
    tags = _parse_tags(if_range)
    return etag is not None and tags == [_Tag(False, etag)]


def _matches(header: str, etag: str | None, *, weak_too: bool) -> bool:
    if header.strip(" \t") == "*":
        return True
    return any(tag.value == etag and (weak_too or not tag.weak) for tag in _parse_tags(header))


def _parse_tags(header: str) -> list[_Tag]:
    """The entity tags of a list; none at all when it is not well formed."""
    tags = []
    position = 0
    while position < len(header):
        match = _ETAG.match(header, position)
        if match is None:
            return []
        weak, quoted, bare = match.groups()
        value = bare if quoted is None else quoted
        if value is not None:
            tags.append(_Tag(weak is not None, value))
        position = match.end()
    return tags
