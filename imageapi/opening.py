# SPDX-License-Identifier: Apache-2.0
"""An image's places -> its data, open, with the first chunk read.

The first place that works is used to the end; which part of the data is
wanted, whether it has to be verified, and how it is opened again where it
breaks off, are decided here.
"""

import logging
from collections.abc import Generator, Sequence
from typing import NamedTuple

from imageapi.backends.base import Blob
from imageapi.body import Body, close_blob
from imageapi.caller import Caller
from imageapi.checksum import WRONG_SECONDS, Checksum, Compared, Verdicts, checksum_of
from imageapi.conditions import Refusal, Span, select_range
from imageapi.errors import (
    BackendError,
    DataMismatch,
    DataNotFound,
    LocationRefused,
    RangeNotSupported,
    WrongHash,
    bug_in,
)
from imageapi.image import Image
from imageapi.places import NoPlace, Place

LOG = logging.getLogger(__name__)


class RangeNotSatisfiable(Exception):
    """The range that is wanted has no byte of the data.

    :ivar size: of the data, in bytes.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        super().__init__(f"not one of {size} bytes")


class Wanted(NamedTuple):
    """The part of an image that a request asks for, in its own words, and for whom."""

    image: Image
    range: str | None
    if_range: str | None
    caller: Caller

    def span_in(self, place: Place, size: int | None) -> Span | None:
        """The part; None for the whole, also where there is nothing to choose.

        :raises RangeNotSatisfiable: it asks for no byte of so many.
        """
        if size is None or not place.store.backend.ranges:
            return None
        span = select_range(self.range, self.if_range, self.image.checksum, size)
        if isinstance(span, Refusal):
            raise RangeNotSatisfiable(size)
        return span


class Opened(NamedTuple):
    """Data that is open and whose first chunk is read.

    :ivar span: the part that the body is; None for the whole.
    :ivar size: of the whole, in bytes; None where nobody knows.
    """

    body: Body
    span: Span | None
    size: int | None
    place: Place


class Opener:
    """Opens data, and remembers what it has compared with its hash."""

    def __init__(self, verify_checksum: str, resume_attempts: int) -> None:
        """Parameters: the options of these names."""
        self._verify_checksum = verify_checksum
        self._resume_attempts = resume_attempts
        self._verdicts = Verdicts()

    def open(
        self, wanted: Wanted, places: Sequence[Place | NoPlace]
    ) -> Generator[None, None, Opened]:
        """Open the first place that works.

        A part is not taken from a place after one whose data has the wrong hash: the
        client may have earlier bytes of that data.

        :returns: in steps, a body that the caller owns, and closes.
        :raises BackendError: none does; the error is that of the first.
        :raises RangeNotSatisfiable: the range asks for no byte.
        """
        first_error: BackendError | None = None
        for place in places:
            try:
                if isinstance(place, NoPlace):
                    raise LocationRefused(place.reason)
                return (yield from self._open_at(place, wanted))
            except BackendError as error:
                log_failure(wanted.image.id, place, error)
                first_error = first_error or error
                if isinstance(error, WrongHash) and error.is_part:
                    break
        try:
            raise first_error or DataNotFound("no place")
        finally:
            # Its traceback holds this frame: together they would be a cycle.
            del first_error

    def _open_at(self, place: Place, wanted: Wanted) -> Generator[None, None, Opened]:
        blob, span = _open_wanted(place, wanted)
        try:
            size = _size(wanted.image, blob)
            _check_size(blob, size)
            checksum = self._checksum_to_verify(place, blob, span, size, wanted.image)
        except BaseException:
            close_blob(blob, wanted.image.id, place)
            raise
        if checksum is not None and span is not None and span.start > 0:
            blob = _open_from_first_byte(place, blob, size, wanted)
        body = self._body(place, blob, span or (0, size), checksum, wanted)
        try:
            while not body.prime():
                yield
        except BaseException:
            body.close()
            raise
        return Opened(body, span, size, place)

    def _body(
        self,
        place: Place,
        blob: Blob,
        part: tuple[int, int | None],
        checksum: Checksum | None,
        wanted: Wanted,
    ) -> Body:
        start, stop = part
        version = blob.version

        def reopen(position: int) -> Blob:
            return place.open(position, stop, version, wanted.caller)

        def on_compared(is_right: bool) -> None:
            if checksum is not None and version is not None:
                compared = Compared(place.store.name, place.location.url, version, checksum)
                self._verdicts.add(compared, is_right=is_right)

        try:
            return Body(
                blob,
                image_id=wanted.image.id,
                place=place,
                start=start,
                stop=stop,
                checksum=checksum,
                on_compared=on_compared,
                reopen=reopen,
                resume_attempts=self._resume_attempts,
            )
        except BaseException:
            close_blob(blob, wanted.image.id, place)
            raise

    def _checksum_to_verify(
        self, place: Place, blob: Blob, span: Span | None, size: int | None, image: Image
    ) -> Checksum | None:
        """What all the bytes are to be compared with before the last ones are sent.

        :returns: None where a comparison is not asked for, or was made before, or the last
            bytes are not wanted.
        :raises WrongHash: the last comparison showed that the bytes are wrong.
        """
        checksum = None if self._verify_checksum == "never" else checksum_of(image)
        if checksum is None:
            return None
        is_right = None
        if blob.version is not None:
            compared = Compared(place.store.name, place.location.url, blob.version, checksum)
            is_right = self._verdicts.is_right(compared)
        if is_right is False:
            raise WrongHash(
                f"the data had the wrong {checksum.algorithm} less than"
                f" {WRONG_SECONDS:.0f} seconds ago, and is not read again yet",
                is_part=span is not None and span.start > 0,
            )
        if span is not None and span.stop != size:
            return None
        is_proved = is_right and blob.is_settled and self._verify_checksum == "once"
        return None if is_proved else checksum


def _check_size(blob: Blob, size: int | None) -> None:
    """Refuse data of another size than what is to be sent.

    :raises DataMismatch: it has another size.
    """
    if blob.total_size not in (None, size):
        raise DataMismatch(f"the data is {blob.total_size} bytes, not {size} as its record says")


def _open_from_first_byte(place: Place, blob: Blob, size: int | None, wanted: Wanted) -> Blob:
    """Open the whole in place of a part, since all of it must be hashed."""
    close_blob(blob, wanted.image.id, place)
    whole = place.open(0, None, blob.version, wanted.caller)
    try:
        _check_size(whole, size)
    except BaseException:
        close_blob(whole, wanted.image.id, place)
        raise
    return whole


def _open_wanted(place: Place, wanted: Wanted) -> tuple[Blob, Span | None]:
    """Open the part that is wanted, or the whole."""
    image, caller = wanted.image, wanted.caller
    blob, span = _open_span(place, wanted.span_in(place, image.size), None, caller)
    if image.size is not None or span is not None:
        return blob, span
    # Only now is it known which bytes a range means.
    try:
        span = wanted.span_in(place, blob.total_size)
    except RangeNotSatisfiable:
        close_blob(blob, image.id, place)
        raise
    if span is None:
        return blob, None
    close_blob(blob, image.id, place)
    return _open_span(place, span, blob.version, caller)


def _open_span(
    place: Place, span: Span | None, version: str | None, caller: Caller
) -> tuple[Blob, Span | None]:
    """Open a part where the store's server can, else the whole."""
    if span is not None:
        try:
            return place.open(*span, version, caller), span
        except RangeNotSupported:
            LOG.debug("%s answers a range with the whole", place)
    return place.open(0, None, version, caller), None


def _size(image: Image, blob: Blob) -> int | None:
    return blob.total_size if image.size is None else image.size


def log_failure(image_id: str, where: object, error: BackendError) -> None:
    """One line for the operator; a traceback only for a backend's own bug."""
    LOG.error("image %r: %s: %s", image_id, where, error, exc_info=bug_in(error))
