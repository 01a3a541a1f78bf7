# SPDX-License-Identifier: Apache-2.0
"""The Range header -> the part of the data to send (RFC 9110, section 14).

Of ranges only a single one in bytes is honoured, as docs/wire.md says.  Pure functions.
"""

import re
from typing import NamedTuple

# Longer than any honest single range; what is longer is not even parsed.
_LONGEST_RANGE = 256

_RANGE = re.compile(r"bytes=(?:([0-9]+)-([0-9]*)|-([0-9]+))", re.ASCII | re.IGNORECASE)

_FROM_FIRST_BYTE = re.compile(r"[ \t]*bytes=0+-", re.ASCII | re.IGNORECASE)


class RangeNotSatisfiable(Exception):
    """The requested range has no byte of the data: the answer is 416.

    :ivar size: of the data, in bytes.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        super().__init__(f"the range has none of the {size} bytes")


class Span(NamedTuple):
    """A part of the data, half-open: from byte start up to, not with, stop."""

    start: int
    stop: int


class ByteRange(NamedTuple):
    """A range as a client asks for it, before the size of the data is known.

    :ivar first: the first byte; None for a range of the last bytes.
    :ivar last: the last byte, or None for all that follow ``first``; for a range of the
        last bytes, how many.
    """

    first: int | None
    last: int | None

    def in_data_of(self, size: int) -> Span:
        """The part that it is of data of a known size, in bytes.

        :raises RangeNotSatisfiable: no byte of the data lies in the range.
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

    :returns: None where the header is absent or not one that is honoured.
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
    """Whether a client with this Range header may hold bytes, to which it adds the answer's.

    It asks for a range that does not begin at the first byte.  It goes on even where the
    answer is the whole: wget passes over what it has.
    """
    return header is not None and not _FROM_FIRST_BYTE.match(header)
