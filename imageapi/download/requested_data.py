# SPDX-License-Identifier: Apache-2.0
"""A request for data and a location -> the requested part, open, before anything is read."""

import logging
from typing import NamedTuple

from imageapi.backends.base import Blob
from imageapi.caller import Caller
from imageapi.download.closing import close_blob
from imageapi.download.data_cache import OpenLocation
from imageapi.errors import BackendError, DataMismatch, RangeNotSupported
from imageapi.image import Image
from imageapi.protocol.ranges import ByteRange, RangeNotSatisfiable, Span

LOG = logging.getLogger(__name__)


class DownloadRequest(NamedTuple):
    """The part of an image that a client requests.

    :ivar range: None for the whole.
    :ivar may_continue: whether the client may already hold bytes, to which it appends
        the requested ones.
    """

    image: Image
    range: ByteRange | None
    may_continue: bool
    caller: Caller

    def span_in(self, location: OpenLocation, size: int | None) -> Span | None:
        """Return the requested part; None for the whole.

        It is also None if the size is unknown or 0, or if the store reads no ranges.

        :param size: the size of the whole in bytes; None if unknown.
        :raises RangeNotSatisfiable: the range contains no byte of the data.
        """
        if self.range is None or not size or not location.store.backend.ranges:
            return None
        return self.range.in_data_of(size)


class WrongSize(DataMismatch):
    """The size of the data differs from the size in the record."""


class Found(NamedTuple):
    """Data that is open, of which nothing was read yet.

    :ivar location: where the blob was opened.
    :ivar span: the part that the blob contains; None for the whole.
    :ivar size: the size of the whole in bytes; None if unknown.
    :ivar past_end: the size, if only the store knows it and the range contains no byte
        of the data; otherwise None.
    """

    location: OpenLocation
    blob: Blob
    span: Span | None
    size: int | None
    past_end: int | None = None


def check_size(blob: Blob, size: int | None) -> None:
    """Check the size of the data, if the store knows it.

    :raises DataMismatch: the data has another size.
    """
    if blob.total_size not in (None, size):
        raise WrongSize(f"the data is {blob.total_size} bytes, not {size} as its record says")


def may_be_held(error: BackendError, found: Found, request: DownloadRequest) -> bool:
    """Whether clients may hold bytes of this unusable data from earlier responses.

    They hold none if opening shows the wrong size at once, for the whole and for a part.
    """
    if not isinstance(error, WrongSize):
        return True
    try:
        # A part of one byte, because HTTP cannot request an empty one.
        for stop in (None, 1):
            blob = found.location.open(0, stop, None, request.caller)
            close_blob(blob, request.image.id, found.location)
            if blob.total_size is None:
                return True
    except BackendError as failure:
        return not isinstance(failure, RangeNotSupported)
    return False


def open_requested(location: OpenLocation, request: DownloadRequest) -> Found:
    """Open the requested part, or the whole."""
    image, caller = request.image, request.caller
    blob, span = _open_span(location, request.span_in(location, image.size), None, caller)
    if image.size is not None:
        return Found(location, blob, span, image.size)
    # Only now is the size known, and so the bytes that the range means.
    size = blob.total_size
    try:
        span = request.span_in(location, size)
    except RangeNotSatisfiable:
        return Found(location, blob, None, size, past_end=size)
    if span is None:
        return Found(location, blob, None, size)
    close_blob(blob, image.id, location)
    return Found(location, *_open_span(location, span, blob.version, caller), size)


def _open_span(
    location: OpenLocation, span: Span | None, version: str | None, caller: Caller
) -> tuple[Blob, Span | None]:
    """Open a part if the store's server can read one, otherwise the whole."""
    if span is not None:
        try:
            return location.open(*span, version, caller), span
        except RangeNotSupported:
            LOG.debug("%s cannot read this range, so the whole is opened", location)
    return location.open(0, None, version, caller), None
