# SPDX-License-Identifier: Apache-2.0
"""The data of an HTTP response, which must be exactly the requested part."""

import re
from collections.abc import Callable
from typing import Any

from urllib3.response import HTTPResponse

from imageapi.backends.base import Blob
from imageapi.backends.http_client.client import translated_errors
from imageapi.backends.http_client.status import check_encoding, close
from imageapi.backends.http_client.urls import Url
from imageapi.errors import (
    BackendError,
    BackendUnavailable,
    BadReply,
    DataChanged,
    RangeNotSupported,
)

_FARTHEST = 2**63 - 1

_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)")
_UNSATISFIED_RANGE = re.compile(r"bytes \*/([0-9]{1,19})")

VersionOf = Callable[[HTTPResponse, int | None], str | None]


def range_headers(start: int, stop: int | None) -> dict[str, str]:
    """Return the headers that request a part; none for the whole.

    :raises RangeNotSupported: the range is empty, which HTTP cannot express.
    """
    if stop is not None and stop <= start:
        raise RangeNotSupported("HTTP cannot request an empty range")
    if not start and stop is None:
        return {}
    # Servers refuse numbers that are too large for them; so far out means the end.
    last = "" if stop is None or stop > _FARTHEST else stop - 1
    return {"Range": f"bytes={start}-{last}"}


def open_blob(
    response: HTTPResponse,
    url: Url,
    check_status: Callable[[HTTPResponse, Url], None],
    version: str | None,
    **how: Any,
) -> "HTTPBlob":
    """Turn a response into a Blob; close the response if it has no such data.

    :param check_status: raises the error for a response without data.
    :param version: the version that the data must have; None for any.
    :param how: the other arguments of `HTTPBlob`.
    :raises BackendError: the response is not the requested data.
    """
    try:
        check_status(response, url)
        check_encoding(response, url)
        blob = HTTPBlob(response, url, **how)
        if version not in (None, blob.version):
            raise DataChanged(f"{url.shown}: the data has changed since the download began")
    except BaseException:
        close(response)
        raise
    return blob


class HTTPBlob(Blob):
    """The data of a response, which the Blob owns."""

    def __init__(
        self,
        response: HTTPResponse,
        url: Url,
        *,
        chunk_size: int,
        start: int,
        stop: int | None,
        version_of: VersionOf,
    ) -> None:
        """Take over a response with status 200, 206 or 416, unless this raises.

        :param start, stop: the requested part.
        :param version_of: returns the version of the data of a response; it gets
            the response and the size of the whole.
        :raises RangeNotSupported: a part was requested, but the server sends the whole.
        :raises BadReply: the response is neither the whole nor that part.
        """
        is_part = start > 0 or stop is not None
        # How many bytes must still come; None if unknown.
        self._left = response.length_remaining
        if response.status == 416 and is_part:
            self.total_size = _size_of_unsatisfied(response, url, start)
            self._left = 0
        elif is_part and response.status == 200:
            raise RangeNotSupported(f"{url.shown} ignores Range and returns the whole data")
        elif is_part and response.status == 206:
            self._left, self.total_size = _sizes_of_part(response, url, start, stop)
        elif response.status == 200:
            self.total_size = response.length_remaining
        else:
            raise BadReply(f"{url.shown} answers with status {response.status}")
        self.version = version_of(response, self.total_size)
        self._ended = response.status == 416
        self._broken: BackendError | None = None
        self._response = response
        self._url = url
        self._chunk_size = chunk_size

    def __next__(self) -> bytes:
        if self._broken is not None:
            raise self._broken.with_traceback(None)
        if self._ended:
            raise StopIteration
        try:
            with translated_errors(self._url):
                chunk = self._counted(self._read())
        except BackendError as error:
            self.close()
            self._broken = error
            raise
        if not chunk:
            self.close()
            raise StopIteration
        return chunk

    def close(self) -> None:
        self._ended = True
        close(self._response)

    def _read(self) -> bytes:
        response = self._response
        size = max(self._chunk_size, self.preferred_chunk_size)
        if response.chunked:
            # One chunk of the chunked encoding, or a part of it.
            return response.read1(size, decode_content=False)
        return response.read(size, decode_content=False)

    def _counted(self, chunk: bytes) -> bytes:
        """Check that the data has the announced length, even if its framing does not."""
        if self._left is not None:
            self._left -= len(chunk)
            if self._left < 0 or (self._left > 0 and not chunk):
                raise BackendUnavailable(
                    f"{self._url.shown} sent more or fewer bytes than announced"
                )
        return chunk


def _sizes_of_part(
    response: HTTPResponse, url: Url, start: int, stop: int | None
) -> tuple[int, int | None]:
    """Return the sizes of the part and of the whole, if it is the requested part."""
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    if match is not None:
        first, last = int(match[1]), int(match[2])
        size = None if match[3] == "*" else int(match[3])
        ends = [end for end in (stop, size) if end is not None]
        length = last - first + 1
        # Without stop and size it is unknown whether the part reaches the end.
        is_wanted = bool(ends) and first == start and length > 0 and last + 1 == min(ends)
        if is_wanted and response.length_remaining in (None, length):
            return length, size
    raise BadReply(f"{url.shown} returned another range than the one requested")


def _size_of_unsatisfied(response: HTTPResponse, url: Url, start: int) -> int:
    """Return the size of data that ends before the requested part."""
    match = _UNSATISFIED_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    if match is None or int(match[1]) > start:
        raise BadReply(f"{url.shown} returned an invalid 416 for a range from byte {start}")
    return int(match[1])
