# SPDX-License-Identifier: Apache-2.0
"""An image's locations -> its data, open, with the first chunk read.

The first location that works is used to the end; which part of the data is
wanted, whether it has to be verified, and how it is opened again where it
breaks off, are decided here.
"""

import logging
from collections.abc import Generator, Sequence
from typing import NamedTuple

from imageapi.backends.base import Blob
from imageapi.caller import Caller
from imageapi.download.body import Body, close_blob
from imageapi.download.checksum import WRONG_SECONDS, Checksum, Compared, Verdicts, checksum_of
from imageapi.download.locations import DataLocation, UnusableLocation
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
from imageapi.protocol.ranges import ByteRange, RangeNotSatisfiable, Span

LOG = logging.getLogger(__name__)


class DownloadRequest(NamedTuple):
    """The part of an image that a client asks for.

    :ivar range: None for the whole.
    :ivar may_continue: whether the client may hold bytes already, to which it adds those
        that it asks for.
    """

    image: Image
    range: ByteRange | None
    may_continue: bool
    caller: Caller

    def span_in(self, location: DataLocation, size: int | None) -> Span | None:
        """The part; None for the whole, also where there is nothing to choose.

        :param size: of the whole, in bytes; None where it is unknown.
        :raises RangeNotSatisfiable: the range has no byte of the data.
        """
        if self.range is None or not size or not location.store.backend.ranges:
            return None
        return self.range.in_data_of(size)


class _WrongSize(DataMismatch):
    """The data is larger or smaller than the record says."""


class _Found(NamedTuple):
    """Data that is open, and not read yet.

    :ivar span: the part that the blob is; None for the whole.
    :ivar size: of the whole, in bytes; None where nobody knows.
    :ivar past_end: the size as the store alone knows it, where the range asks for no byte
        of so many; else None.
    """

    blob: Blob
    span: Span | None
    size: int | None
    past_end: int | None = None


class Opened(NamedTuple):
    """Data that is open and whose first chunk is read.

    :ivar span: the part that the body is; None for the whole.
    :ivar size: of the whole, in bytes; None where nobody knows.
    """

    body: Body
    span: Span | None
    size: int | None
    location: DataLocation


class Opener:
    """Opens data, and remembers what it has compared with its hash."""

    def __init__(self, verify_checksum: str, resume_attempts: int) -> None:
        """Parameters: the options of these names."""
        self._verify_checksum = verify_checksum
        self._resume_attempts = resume_attempts
        self._verdicts = Verdicts()

    def open(
        self, request: DownloadRequest, locations: Sequence[DataLocation | UnusableLocation]
    ) -> Generator[None, None, Opened]:
        """Open the first location that works.

        A client that may go on with earlier bytes gets none from a location after one whose data
        is wrong or ends early: it may hold bytes of that data.

        :returns: in steps, a body that the caller owns, and closes.
        :raises BackendError: none does; the error is that of the first.
        :raises RangeNotSatisfiable: the range asks for no byte.
        """
        first_error: BackendError | None = None
        for location in locations:
            found = None
            try:
                if isinstance(location, UnusableLocation):
                    raise LocationRefused(location.reason)
                found = _open_requested(location, request)
                return (yield from self._prime(location, found, request))
            except BackendError as error:
                log_failure(request.image.id, location, error)
                first_error = first_error or error
                if (
                    found is not None
                    and request.may_continue
                    and _may_be_held(error, location, request)
                ):
                    break
        try:
            raise first_error or DataNotFound("no location")
        finally:
            # Its traceback holds this frame: together they would be a cycle.
            del first_error

    def verify_empty(self, image: Image) -> None:
        """Compare no bytes at all with the hash of an image of size 0; no store is opened.

        :raises BackendError: they do not have it, or it cannot be computed here.
        """
        checksum = self._checksum_of(image)
        try:
            if checksum is not None and checksum.hasher().hexdigest() != checksum.digest:
                raise WrongHash(
                    f"it has 0 bytes, and a {checksum.algorithm} of other bytes: {checksum.digest}"
                )
        except BackendError as error:
            log_failure(image.id, "its record", error)
            raise

    def _checksum_of(self, image: Image) -> Checksum | None:
        return None if self._verify_checksum == "never" else checksum_of(image)

    def _prime(
        self, location: DataLocation, found: _Found, request: DownloadRequest
    ) -> Generator[None, None, Opened]:
        """Read until the first chunk to send is there."""
        blob, span, size, past_end = found
        try:
            _check_size(blob, size)
            checksum = self._checksum_to_verify(location, found, request.image)
            if past_end is not None and checksum is None:
                raise RangeNotSatisfiable(past_end)
        except BaseException:
            close_blob(blob, request.image.id, location)
            raise
        if checksum is not None and span is not None and span.start > 0:
            blob = _open_from_first_byte(location, blob, size, request)
        # There is nothing to send of it, but that this is its end has to be verified.
        part = (0, size) if past_end is None else (past_end, past_end)
        body = self._body(location, blob, span or part, checksum, request)
        try:
            while not body.prime():
                if past_end is not None and body.is_complete:
                    raise RangeNotSatisfiable(past_end)
                yield
        except BaseException:
            body.close()
            raise
        return Opened(body, span, size, location)

    def _body(
        self,
        location: DataLocation,
        blob: Blob,
        part: tuple[int, int | None],
        checksum: Checksum | None,
        request: DownloadRequest,
    ) -> Body:
        start, stop = part
        version = blob.version

        def reopen(position: int) -> Blob:
            return location.open(position, stop, version, request.caller)

        def on_compared(is_right: bool) -> None:
            # Wrong bytes of what was not settled may have been of two versions.
            says_all = is_right or blob.is_settled
            if checksum is not None and version is not None and says_all:
                compared = Compared(location.store.name, location.recorded.url, version, checksum)
                self._verdicts.add(compared, is_right=is_right)

        try:
            return Body(
                blob,
                image_id=request.image.id,
                location=location,
                start=start,
                stop=stop,
                checksum=checksum,
                on_compared=on_compared,
                reopen=reopen,
                resume_attempts=self._resume_attempts,
            )
        except BaseException:
            close_blob(blob, request.image.id, location)
            raise

    def _checksum_to_verify(
        self, location: DataLocation, found: _Found, image: Image
    ) -> Checksum | None:
        """What all the bytes are to be compared with before the last ones are sent.

        :returns: None where a comparison is not asked for, or was made before, or the last
            bytes are not wanted.
        :raises WrongHash: the last comparison showed that the bytes are wrong.
        """
        blob, span, size, _ = found
        checksum = self._checksum_of(image)
        if checksum is None:
            return None
        is_right = None
        if blob.version is not None:
            compared = Compared(location.store.name, location.recorded.url, blob.version, checksum)
            is_right = self._verdicts.is_right(compared)
        if is_right is False:
            raise WrongHash(
                f"the data had the wrong {checksum.algorithm} less than"
                f" {WRONG_SECONDS:.0f} seconds ago, and is not read again yet"
            )
        if span is not None and span.stop != size:
            return None
        names_bytes = blob.is_settled and blob.is_trusted
        is_proved = is_right and names_bytes and self._verify_checksum == "once"
        return None if is_proved else checksum


def _check_size(blob: Blob, size: int | None) -> None:
    """Refuse data of another size than what is to be sent.

    :raises DataMismatch: it has another size.
    """
    if blob.total_size not in (None, size):
        raise _WrongSize(f"the data is {blob.total_size} bytes, not {size} as its record says")


def _open_from_first_byte(
    location: DataLocation, blob: Blob, size: int | None, request: DownloadRequest
) -> Blob:
    """Open the whole in place of a part, since all of it must be hashed."""
    close_blob(blob, request.image.id, location)
    whole = location.open(0, None, blob.version, request.caller)
    try:
        _check_size(whole, size)
    except BaseException:
        close_blob(whole, request.image.id, location)
        raise
    return whole


def _may_be_held(
    error: BackendError, location: DataLocation | UnusableLocation, request: DownloadRequest
) -> bool:
    """Whether earlier answers may have given bytes of data that cannot be used.

    No answer did where the whole and a part alike are at once seen to be of another size.
    """
    if not isinstance(error, _WrongSize) or isinstance(location, UnusableLocation):
        return True
    try:
        # Of size 1, since HTTP cannot ask for an empty part.
        return not all(_tells_size(location, stop, request) for stop in (None, 1))
    except RangeNotSupported:
        return False
    except BackendError:
        return True


def _tells_size(location: DataLocation, stop: int | None, request: DownloadRequest) -> bool:
    blob = location.open(0, stop, None, request.caller)
    close_blob(blob, request.image.id, location)
    return blob.total_size is not None


def _open_requested(location: DataLocation, request: DownloadRequest) -> _Found:
    """Open the part that is wanted, or the whole."""
    image, caller = request.image, request.caller
    blob, span = _open_span(location, request.span_in(location, image.size), None, caller)
    if image.size is not None:
        return _Found(blob, span, image.size)
    # Only now is it known which bytes a range means.
    size = blob.total_size
    try:
        span = request.span_in(location, size)
    except RangeNotSatisfiable:
        return _Found(blob, None, size, past_end=size)
    if span is None:
        return _Found(blob, None, size)
    close_blob(blob, image.id, location)
    return _Found(*_open_span(location, span, blob.version, caller), size)


def _open_span(
    location: DataLocation, span: Span | None, version: str | None, caller: Caller
) -> tuple[Blob, Span | None]:
    """Open a part where the store's server can, else the whole."""
    if span is not None:
        try:
            return location.open(*span, version, caller), span
        except RangeNotSupported:
            LOG.debug("%s answers a range with the whole", location)
    return location.open(0, None, version, caller), None


def log_failure(image_id: str, where: object, error: BackendError) -> None:
    """One line for the operator; a traceback only for a backend's own bug."""
    LOG.error("image %r: %s: %s", image_id, where, error, exc_info=bug_in(error))
