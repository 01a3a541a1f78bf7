# SPDX-License-Identifier: Apache-2.0
"""The Range header -> the part of the data to send (RFC 9110, section 14).

Only a single range in bytes is supported (docs/wire.md).  Pure functions.
"""

import re
from typing import NamedTuple

# Longer than any useful single range.  A longer header is not parsed.
_LONGEST_RANGE = 256

_RANGE = re.compile(r"bytes=(?:([0-9]+)-([0-9]*)|-([0-9]+))", re.ASCII | re.IGNORECASE)

_FROM_FIRST_BYTE = re.compile(r"[ \t]*bytes=0+-", re.ASCII | re.IGNORECASE)


class RangeNotSatisfiable(Exception):
    """The requested range contains no byte of the data; the response is 416.

    :ivar size: the size of the data in bytes.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        super().__init__(f"the range contains none of the {size} bytes")


class Span(NamedTuple):
    """A part of the data, half-open: it includes byte start and excludes byte stop."""

    start: int
    stop: int


class ByteRange(NamedTuple):
    """A range as the client requests it, before the size of the data is known.

    :ivar first: the first byte; None for a suffix range.
    :ivar last: the last byte; None for all bytes from ``first`` on.  For a suffix range,
        the number of bytes.
    """

    first: int | None
    last: int | None

    def in_data_of(self, size: int) -> Span:
        """Return the part that this range means in data of the given size, in bytes.

        :raises RangeNotSatisfiable: the range contains no byte of the data.
        """
        if self.first is None:
            span = Span(size - min(self.last or 0, size), size)
        else:
            stop = size if self.last is None else min(self.last + 1, size)
            span = Span(self.first, stop)
        if span.start >= span.stop:
            raise RangeNotSatisfiable(size)
        return span


def parse_range(header: str | None) -> ByteRange | None:
    """Parse a Range header.

    :returns: None if the header is absent, invalid or not supported.
    """
    if header is None or len(header) > _LONGEST_RANGE:
        return None
    match = _RANGE.fullmatch(header.strip(" \t"))
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        return ByteRange(None, int(suffix))
    byte_range = ByteRange(int(first), int(last) if last else None)
    if byte_range.last is not None and byte_range.last < int(first):
        return None
    return byte_range


def may_continue(header: str | None) -> bool:
    """Whether a client may append the response to bytes that it already holds.

    This is so if its Range header does not begin at the first byte.  It is so even if the
    response is the whole image: wget skips the bytes that it has, and appends the rest.
    """
    return header is not None and not _FROM_FIRST_BYTE.match(header)
