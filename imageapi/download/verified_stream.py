# SPDX-License-Identifier: Apache-2.0
"""The iterator that the server sends: it counts, resumes and verifies the data.

A client must never hold a complete body that is not the image.  So the last
chunk is held back until the data has ended at the right byte and has the right
checksum.  Otherwise the iterator raises an exception, and the server then breaks
the connection off.
"""

import logging
from collections.abc import Callable
from typing import Self

from imageapi.backends.base import Blob
from imageapi.cache.blobs import CachedBlob
from imageapi.cache.files import SendFile
from imageapi.download.checksum import Checksum
from imageapi.download.closing import close_blob
from imageapi.download.sent_bytes import hash_sent_bytes, version_of_sent_bytes
from imageapi.errors import (
    NOT_RESUMED,
    BackendError,
    BackendUnavailable,
    DataMismatch,
    WrongHash,
    bug_in,
    unexpected,
)

LOG = logging.getLogger(__name__)


class Body:
    """The data of one response.  ``iter(body) is body``; the body owns its Blob.

    If a part reaches the end of the data, and the data must still be verified, it is read
    from the first byte.  The bytes before the part are hashed and not sent.

    A `CachedBlob` was verified, or will be before its last bytes can be read.  If it fails, the
    body continues at the data's origin, and verifies the data itself.

    :ivar sent: how many bytes were returned.
    :ivar resumed: how often the data was opened again.
    :ivar is_verified: whether the data was compared with its checksum, and is right.
    :ivar error: the class of the error that broke the body off; None if none did.
    :ivar is_left: set by the owner, before it closes the body, if the client has left.
    :ivar on_closed: is called once with this body, when its owner closes it, or when it
        is broken off.
    """

    def __init__(
        self,
        blob: Blob,
        *,
        image_id: str,
        location: object,
        start: int,
        stop: int | None,
        checksum: Checksum | None,
        on_compared: Callable[[bool], None],
        reopen: Callable[[int, str | None], Blob],
        resume_attempts: int,
        late_checksum: Checksum | None = None,
    ) -> None:
        """Take over an open Blob; read nothing yet.

        :param blob: begins at byte 0 if there is a checksum, otherwise at ``start``.
        :param image_id, location: the image and its store, for the log.
        :param start: the offset of the first byte to send.
        :param stop: the offset before which to stop; None if the end is unknown.
        :param checksum: the checksum of all bytes from 0 to ``stop``; None to
            not verify.
        :param on_compared: is called with the result after the comparison.
        :param reopen: opens the data at its origin again, from the given offset; the
            second parameter is the version that it must have.
        :param resume_attempts: how often ``reopen`` may be called, if the Blob has
            a version.
        :param late_checksum: the checksum to verify if a `CachedBlob` fails.
        :raises BackendError: this Python cannot compute the checksum.
        """
        self._blob = blob
        self._image_id = image_id
        self._location = location
        self._start = start
        self._stop = stop
        self._checksum = checksum
        self._hasher = checksum.hasher() if checksum is not None else None
        self._on_compared = on_compared
        self._reopen = reopen
        self._resume_attempts = resume_attempts
        self._attempts_left = resume_attempts if blob.version is not None else 0
        self._late_checksum = late_checksum
        # The offset of the next byte to receive.
        self._position = start if checksum is None else 0
        # The chunk that was read before the response began, and is not sent yet.
        self._primed: bytes | None = None
        # If the length is unknown: the chunk that may be the last one.
        self._held: bytes | None = None
        # Why the data cannot be completed; None while it can.
        self._broken: str | None = None
        self._complete = self._closed = False
        self.sent = self.resumed = 0
        self.is_verified = False
        self.error: type[BackendError] | None = None
        self.is_left = False
        self.on_closed: Callable[[Body], None] | None = None

    def __iter__(self) -> Self:
        return self

    @property
    def is_complete(self) -> bool:
        """Whether all bytes were returned, so that nothing is left to read or to close."""
        return self._complete and self._primed is None

    @property
    def first_chunk(self) -> bytes:
        """What `prime` has read and `__next__` has not returned yet; empty if nothing."""
        return self._primed or b""

    @property
    def is_read(self) -> bool:
        """Whether all bytes were read, and verified if there is a checksum."""
        return self._complete

    @property
    def awaits_data(self) -> bool:
        """Whether the next read would wait for data that others have not read yet.

        This never blocks.
        """
        return self._primed is None and not self._closed and self._blob.awaits_data

    def prefer_chunks_of(self, size: int) -> None:
        """Ask the store for chunks of this size; see `Blob.preferred_chunk_size`."""
        self._blob.preferred_chunk_size = size

    def send_file(self, send: SendFile, limit: int) -> int:
        """Let the system send bytes of a file in the cache, but never the last byte.

        What must be hashed, or is not in the cache, cannot be sent in this way.

        :param limit: send at most so many bytes.
        :returns: how many bytes were sent.  If 0, read the next chunk instead: that raises the
            error if there is one.
        """
        is_plain = self._hasher is None and self._primed is None and self._stop is not None
        if self._closed or not is_plain or not isinstance(self._blob, CachedBlob):
            return 0
        count = self._blob.send_file(send, limit)
        self._position += count
        self.sent += count
        return count

    def prime(self) -> bool:
        """Read one more chunk, so that errors up to the first chunk precede the response.

        Data that is no longer than the first chunk is read to its end and verified.

        :returns: whether the first chunk to send has been read.  If not, call this again.
        :raises BackendError: the data cannot be read, or is wrong.
        """
        chunk = self._advance()
        if chunk is not None and self._start > 0:
            received_of_part = self._position - self._start
            if received_of_part <= 0:
                return False
            chunk = chunk[-received_of_part:]
        self._primed = chunk
        return True

    def __next__(self) -> bytes:
        """Return the next bytes to send.

        :raises BackendError: the body cannot be completed.  Every further call
            raises a BackendError with the same text.
        """
        if self._broken is not None:
            raise BackendError(self._broken)
        chunk, self._primed = self._primed, None
        if chunk is None and not self._complete:
            chunk = self._advance_or_break()
        if chunk is None:
            raise StopIteration
        self.sent += len(chunk)
        return chunk

    def close(self) -> None:
        """Release the store's data.  May be called repeatedly.

        If the data was not complete, reading on raises an error.
        """
        self._release()
        on_closed, self.on_closed = self.on_closed, None
        if on_closed is not None:
            on_closed(self)

    def _release(self) -> None:
        if not self._closed:
            self._closed = True
            if not self._complete and self._broken is None:
                self._broken = "the data was closed before its end"
            close_blob(self._blob, self._image_id, self._location)

    def _advance_or_break(self) -> bytes | None:
        try:
            return self._advance()
        except BackendError as error:
            LOG.error(
                "image %r: %s: broken off at byte %d: %s",
                self._image_id,
                self._location,
                self._position,
                error,
                exc_info=bug_in(error),
            )
            # Not the error itself: its traceback would keep this object in memory.
            self._broken = str(error)
            self.error = type(error)
            self.close()
            # Without its cause: the server will log the exception, and a cause from
            # outside imageapi may contain secrets.
            raise error from None

    def _advance(self) -> bytes | None:
        """Return the next bytes to send, the last ones verified; None after them."""
        if self._stop is None:
            return self._advance_to_unknown_end()
        chunk = self._receive()
        if self._position >= self._stop:
            if self._position > self._stop or self._receive() is not None:
                raise DataMismatch(f"the data continues past byte {self._stop}, where it must end")
            self._verify()
        return chunk

    def _advance_to_unknown_end(self) -> bytes | None:
        """Stay one chunk behind, because any chunk may be the last one."""
        if self._held is None:
            self._held = self._receive()
        chunk = self._held
        self._held = None if chunk is None else self._receive()
        if self._held is None:
            self._verify()
        return chunk

    def _verify(self) -> None:
        """Compare the checksum at the end of the data, and close the data."""
        if self._hasher is not None and self._checksum is not None:
            digest = self._hasher.hexdigest()
            is_right = digest == self._checksum.digest
            self._on_compared(is_right)
            if not is_right:
                raise WrongHash(
                    f"the data's {self._checksum.algorithm} is {digest},"
                    f" not {self._checksum.digest} as its record says"
                )
            self.is_verified = True
        self._complete = True
        self._release()

    def _receive(self) -> bytes | None:
        """Return the next non-empty chunk, after counting and hashing it; None at the end."""
        while True:
            try:
                chunk = self._read()
            except BackendError as error:
                self._resume_after(error)
                continue
            if chunk is None:
                return None
            self._position += len(chunk)
            if self._hasher is not None:
                self._hasher.update(chunk)
            return chunk

    def _read(self) -> bytes | None:
        try:
            chunk = next(self._blob, None)
            while chunk == b"":
                chunk = next(self._blob, None)
        except BackendError:
            raise
        except Exception as error:
            raise unexpected(self._location, error) from error
        if chunk is not None and not isinstance(chunk, bytes):
            # It is a bug of the store, which would do the same again.
            self._attempts_left = 0
            raise BackendError(f"a chunk must be bytes, not {type(chunk).__name__}")
        if chunk is None and self._stop is not None and self._position < self._stop:
            raise BackendUnavailable(f"the data ended at byte {self._position} of {self._stop}")
        return chunk

    def _resume_after(self, error: BackendError) -> None:
        """Open the data again at the byte that was reached.

        :raises BackendError: that is not allowed, or failed.
        """
        if self._stop is not None and self._position >= self._stop:
            raise error
        if isinstance(self._blob, CachedBlob):
            self._leave_cache(self._blob, error)
            return
        version = self._blob.version
        while self._attempts_left > 0 and not isinstance(error, NOT_RESUMED):
            self._attempts_left -= 1
            LOG.warning(
                "image %r: %s: resuming at byte %d: %s",
                self._image_id,
                self._location,
                self._position,
                error,
            )
            close_blob(self._blob, self._image_id, self._location)
            try:
                self._blob = self._reopen(self._position, version)
            except BackendError as again:
                error = again
            else:
                self.resumed += 1
                return
        raise error

    def _leave_cache(self, cached: CachedBlob, error: BackendError) -> None:
        """Continue at the data's origin; from now on, verify the data here.

        :raises BackendError: that failed.
        """
        LOG.warning(
            "image %r: %s: continuing without the cache at byte %d: %s",
            self._image_id,
            self._location,
            self._position,
            error,
        )
        version = None
        if self._late_checksum is not None and self._checksum is None:
            self._checksum = self._late_checksum
            self._hasher = self._checksum.hasher()
            hash_sent_bytes(self._hasher, cached, self._position, self._reopen, self._location)
        elif self._checksum is None and self._position > self._start:
            sent = (self._start, self._position)
            version = version_of_sent_bytes(sent, cached, self._reopen, self._location)
        close_blob(cached, self._image_id, self._location)
        self._blob = self._reopen(self._position, version)
        self._attempts_left = self._resume_attempts if self._blob.version is not None else 0
        self.resumed += 1
