# SPDX-License-Identifier: Apache-2.0
"""An image's locations -> its data, open, with the first chunk read.

The first location that works is used to the end.  This module decides which part
of the data is requested, whether it must be verified, and how it is opened again
if it breaks off.
"""

import logging
from collections.abc import Generator, Sequence
from typing import NamedTuple

from imageapi.backends.base import Blob
from imageapi.cache.blobs import CachedBlob
from imageapi.cache.settings import CacheSettings
from imageapi.cache.verdict_files import VerdictFiles
from imageapi.download.checksum import WRONG_SECONDS, Checksum, Compared, Verdicts, checksum_of
from imageapi.download.closing import close_blob
from imageapi.download.data_cache import CachedLocation, DataCache, OpenLocation
from imageapi.download.requested_data import (
    DownloadRequest,
    Found,
    check_size,
    may_be_held,
    open_requested,
)
from imageapi.download.store_choice import DataLocation, UnusableLocation
from imageapi.download.unsafe_images import UnsafeImages
from imageapi.download.verified_stream import Body
from imageapi.errors import (
    BackendError,
    DataNotFound,
    WrongHash,
    bug_in,
)
from imageapi.image import Image
from imageapi.protocol.ranges import RangeNotSatisfiable, Span

LOG = logging.getLogger(__name__)


class Opened(NamedTuple):
    """Data that is open and whose first chunk is read.

    :ivar span: the part that the body contains; None for the whole.
    :ivar size: the size of the whole in bytes; None if unknown.
    :ivar cache: how the cache was used; see `RequestEnded.cache`.
    """

    body: Body
    span: Span | None
    size: int | None
    location: OpenLocation
    cache: str | None


class Opener:
    """Opens data, and remembers which versions were compared with their hash."""

    def __init__(
        self,
        verify_checksum: str,
        resume_attempts: int,
        unsafe_images: str = "serve",
        cache: CacheSettings | None = None,
    ) -> None:
        """Prepare; the first parameters are the values of the options with these names."""
        self._verify_checksum = verify_checksum
        self._resume_attempts = resume_attempts
        files = None if cache is None else VerdictFiles(cache.folder.directory)
        self._verdicts = Verdicts(files)
        self._unsafe_images = UnsafeImages(unsafe_images)
        self._cache = None if cache is None else DataCache(cache, resume_attempts, self._verdicts)

    def close(self) -> None:
        """Stop what fills the cache."""
        if self._cache is not None:
            self._cache.close()

    def open(
        self, request: DownloadRequest, locations: Sequence[DataLocation | UnusableLocation]
    ) -> Generator[Body | None, None, Opened]:
        """Open the first location that works.

        If the data of a location is wrong or ends early, a client that may continue earlier
        bytes gets nothing from the next location: it may hold bytes of the wrong data.

        :returns: a generator of steps, which returns the open data.  The caller owns its
            body, and closes it.  A step yields a body if the next one would wait for its data.
        :raises BackendError: no location works; this is the error of the first one.
        :raises RangeNotSatisfiable: the range contains no byte of the data.
        """
        first_error: BackendError | None = None
        for location in locations:
            found = None
            try:
                if isinstance(location, UnusableLocation):
                    raise location.error(location.reason)
                found = open_requested(self._around(location, request.image), request)
                return (yield from self._prime(found, request))
            except BackendError as error:
                log_failure(request.image.id, location, error)
                first_error = first_error or error
                if found and request.may_continue and may_be_held(error, found, request):
                    break
        try:
            raise first_error or DataNotFound("the image has no location")
        finally:
            # Its traceback refers to this frame: without `del` they would form a cycle.
            del first_error

    def verify_empty(self, image: Image) -> None:
        """Check that an image of size 0 has the hash of empty data; open no store.

        :raises BackendError: it has another hash, or this Python cannot compute the hash.
        """
        checksum = self._checksum_of(image)
        try:
            if checksum is not None and checksum.hasher().hexdigest() != checksum.digest:
                raise WrongHash(
                    f"the size is 0, but the {checksum.algorithm} is not that of empty data:"
                    f" {checksum.digest}"
                )
        except BackendError as error:
            log_failure(image.id, "its record", error)
            raise

    def _around(self, location: DataLocation, image: Image) -> OpenLocation:
        return location if self._cache is None else self._cache.around(location, image)

    def _checksum_of(self, image: Image) -> Checksum | None:
        return None if self._verify_checksum == "never" else checksum_of(image)

    def _prime(
        self, found: Found, request: DownloadRequest
    ) -> Generator[Body | None, None, Opened]:
        """Read until the first chunk to send has been read."""
        location, blob, span, size, past_end = found
        body = None
        try:
            check_size(blob, size)
            checksum = self._checksum_to_verify(found, request.image)
            if past_end is not None and checksum is None:
                raise RangeNotSatisfiable(past_end)
            self._refuse_unsafe(found, request, None)
            if checksum is not None and span is not None and span.start > 0:
                # All of the data must be hashed, so the whole is opened instead of the part.
                close_blob(blob, request.image.id, location)
                blob = location.open(0, None, blob.version, request.caller)
                check_size(blob, size)
            # Past the end there is nothing to send, but the data must be verified up to its end.
            part = (0, size) if past_end is None else (past_end, past_end)
            body = self._body(location, blob, span or part, checksum, request)
            yield from _primed(body, past_end)
            self._refuse_unsafe(found, request, body)
        except BaseException:
            if body is None:
                close_blob(blob, request.image.id, location)
            else:
                body.close()
            raise
        return Opened(body, span, size, location, _use_of_cache(location, blob))

    def _refuse_unsafe(self, found: Found, request: DownloadRequest, body: Body | None) -> None:
        """Examine the data: a part that begins later, before it is read; other data, after.

        So what was read of other data need not be read again.

        :param body: None before it is read.
        :raises BackendError: the data must not be served.
        """
        span, size, first = found.span, found.size, b""
        if (body is None) != (span is not None and span.start > 0):
            return
        if body is not None:
            first = body.first_chunk
            # The end of a part is not the end of the data.
            size = len(first) if body.is_read and span is None else size
        self._unsafe_images.check(
            found.location,
            request.image,
            found.blob,
            size=size,
            caller=request.caller,
            first=first,
        )

    def _body(
        self,
        location: OpenLocation,
        blob: Blob,
        part: tuple[int, int | None],
        checksum: Checksum | None,
        request: DownloadRequest,
    ) -> Body:
        start, stop = part
        origin = location.origin if isinstance(location, CachedLocation) else location
        is_cached = isinstance(blob, CachedBlob)

        def reopen(position: int, version: str | None) -> Blob:
            again = origin.open(position, stop, version, request.caller)
            try:
                self._refuse_wrong(origin, again, late_checksum)
            except BackendError:
                close_blob(again, request.image.id, origin)
                raise
            return again

        def on_compared(is_right: bool) -> None:
            if isinstance(blob, CachedBlob) and isinstance(location, CachedLocation):
                if not is_right:
                    location.cache.discard(location)
                return
            # If the blob was not settled, wrong bytes may have been of two versions.
            says_all = is_right or blob.is_settled
            if checksum is not None and blob.version is not None and says_all:
                compared = Compared(origin.store.name, origin.recorded.url, blob.version, checksum)
                self._verdicts.add(compared, is_right=is_right)

        late_checksum = None
        if is_cached and stop in (None, request.image.size):
            late_checksum = self._checksum_of(request.image)
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
            late_checksum=late_checksum,
        )

    def _checksum_to_verify(self, found: Found, image: Image) -> Checksum | None:
        """Return the checksum to verify before the last bytes are sent.

        :returns: None if verification is off or was done before, if the record has no
            hash, or if the last byte is not requested.
        :raises WrongHash: the last comparison showed that the bytes are wrong.
        """
        checksum = self._checksum_of(image)
        if checksum is None:
            return None
        location, blob, span, size, _ = found
        reaches_end = span is None or span.stop == size
        if isinstance(blob, CachedBlob):
            is_wanted = blob.is_kept and reaches_end and self._verify_checksum == "always"
            return checksum if is_wanted else None
        is_right = self._refuse_wrong(location, blob, checksum)
        if not reaches_end:
            return None
        names_bytes = blob.is_settled and blob.is_trusted
        is_proved = is_right and names_bytes and self._verify_checksum == "once"
        return None if is_proved else checksum

    def _refuse_wrong(
        self, location: OpenLocation, blob: Blob, checksum: Checksum | None
    ) -> bool | None:
        """Return True if these bytes were found right, and None if they were not compared.

        :raises WrongHash: the last comparison showed that they are wrong.
        """
        if checksum is None or blob.version is None:
            return None
        compared = Compared(location.store.name, location.recorded.url, blob.version, checksum)
        is_right = self._verdicts.is_right(compared)
        if is_right is False:
            raise WrongHash(
                f"the data had the wrong {checksum.algorithm} less than"
                f" {WRONG_SECONDS:.0f} seconds ago, and is not read again yet"
            )
        return is_right


def _primed(body: Body, past_end: int | None) -> Generator[Body | None, None, None]:
    """Read until the first chunk to send has been read, in steps.

    :raises RangeNotSatisfiable: there is none, and the data is right.
    """
    while True:
        if body.awaits_data:
            yield body
        if body.prime():
            return
        if past_end is not None and body.is_complete:
            raise RangeNotSatisfiable(past_end)
        yield None


def _use_of_cache(location: OpenLocation, blob: Blob) -> str | None:
    if isinstance(blob, CachedBlob):
        return blob.how
    return "miss" if isinstance(location, CachedLocation) else None


def log_failure(image_id: str, where: object, error: BackendError) -> None:
    """Log one line for the operator; with a traceback only for a bug in a backend."""
    LOG.error("image %r: %s: %s", image_id, where, error, exc_info=bug_in(error))
