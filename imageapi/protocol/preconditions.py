# SPDX-License-Identifier: Apache-2.0
"""If-Match, If-None-Match and If-Range (RFC 9110, section 13).  Pure functions.

Entity tags may be without quotes (docs/wire.md), because v1 clients send the bare MD5.
"""

import re
from enum import Enum
from typing import NamedTuple

# One element of a list of entity tags: quoted, bare, or empty.  Recipients ignore
# empty elements (RFC 9110, 5.6.1.2).  Leading blanks are matched possessively,
# because the time for backtracking would grow with the square of their number.
_ETAG = re.compile(r'[ \t]*+(?:(W/)?(?:"([^"]*)"|([^\s",]+)))?[ \t]*(?:,|\Z)')


class Decision(Enum):
    """The status to send instead of the image."""

    NOT_MODIFIED = 304
    PRECONDITION_FAILED = 412


class _Tag(NamedTuple):
    weak: bool
    value: str


def evaluate(if_match: str | None, if_none_match: str | None, etag: str | None) -> Decision | None:
    """Evaluate If-Match and If-None-Match, in the order of RFC 9110, 13.2.2.

    :param etag: the image's checksum.  If None, only ``*`` matches.
    :returns: NOT_MODIFIED, PRECONDITION_FAILED, or None to send the image.
    """
    if if_match is not None and not _matches(if_match, etag, weak_too=False):
        return Decision.PRECONDITION_FAILED
    if if_none_match is not None and _matches(if_none_match, etag, weak_too=True):
        return Decision.NOT_MODIFIED
    return None


def allows_range(if_range: str | None, etag: str | None) -> bool:
    """Whether Range applies under this If-Range (RFC 9110, section 13.1.5).

    Only a strong match counts.  A date never matches, because no Last-Modified is sent.
    """
    if if_range is None:
        return True
    return etag is not None and _parse_tags(if_range) == [_Tag(False, etag)]


def _matches(header: str, etag: str | None, *, weak_too: bool) -> bool:
    if header.strip(" \t") == "*":
        return True
    return any(tag.value == etag and (weak_too or not tag.weak) for tag in _parse_tags(header))


def _parse_tags(header: str) -> list[_Tag]:
    """Return the entity tags of a list; an empty list if the syntax is invalid."""
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
