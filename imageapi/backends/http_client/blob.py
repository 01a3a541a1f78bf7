# SPDX-License-Identifier: Apache-2.0
"""The data of an HTTP response, which must be exactly the requested part."""

import re
from collections.abc import Callable
from typing import NoReturn

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


def range_headers(start: int, stop: int | None) -> dict[str, str]:
    """Return the headers that request a part; none for the whole.

    :raises RangeNotSupported: the range is empty, which HTTP cannot express.
    """
    if stop is not None and stop <= start:
        raise RangeNotSupported("HTTP cannot request an empty range")
    if not start and stop is None:
        return {}
    # Servers refuse larger numbers.  No data is that long, so request it up to its end.
    last = "" if stop is None or stop > _FARTHEST else stop - 1
    return {"Range": f"bytes={start}-{last}"}


class HTTPBlob(Blob):
    """The data of a response, which the Blob owns."""

    def __init__(
        self,
        response: HTTPResponse,
        url: Url,
        *,
        start: int,
        stop: int | None,
        version: str | None,
        version_of: Callable[[HTTPResponse, int | None], str | None],
        refuse: Callable[[HTTPResponse, Url], NoReturn],
        chunk_size: int,
    ) -> None:
        """Take over a response, or close it if it is not the requested data.

        :param start, stop: the requested part.
        :param version: the version that the data must have; None for any.
        :param version_of: returns the version of the data of a response; it gets
            the response and the size of the whole.
        :param refuse: raises the error for a status other than 200, 206 and 416.
        :raises RangeNotSupported: a part was requested, but the server sends the whole.
        :raises DataChanged: the data is of another version.
        :raises BadReply: the response is neither the whole nor that part.
        """
        try:
            if response.status not in (200, 206, 416):
                refuse(response, url)
            check_encoding(response, url)
            # How many bytes must still come; None if unknown.
            self._left, self.total_size = _sizes(response, url, start, stop)
            self.version = version_of(response, self.total_size)
            if version not in (None, self.version):
                raise DataChanged(f"{url.shown}: the data has changed since the download began")
        except BaseException:
            close(response)
            raise
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
                chunk = self._read()
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
        # read1 returns one chunk of the chunked encoding, or a part of it.
        read = self._response.read1 if self._response.chunked else self._response.read
        chunk = read(max(self._chunk_size, self.preferred_chunk_size), decode_content=False)
        # The framing of the response does not promise that the announced length is right.
        if self._left is not None:
            self._left -= len(chunk)
            if self._left < 0 or (self._left > 0 and not chunk):
                raise BackendUnavailable(
                    f"{self._url.shown} sent more or fewer bytes than announced"
                )
        return chunk


def _sizes(
    response: HTTPResponse, url: Url, start: int, stop: int | None
) -> tuple[int | None, int | None]:
    """Return the size of the body and of the whole data; None if unknown."""
    is_part = start > 0 or stop is not None
    if response.status == 200:
        if is_part:
            raise RangeNotSupported(f"{url.shown} ignores Range and returns the whole data")
        return response.length_remaining, response.length_remaining
    if not is_part:
        raise BadReply(f"{url.shown} answers with status {response.status}")
    if response.status == 416:
        # The data ends before the requested part.
        match = _UNSATISFIED_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
        if match is None or int(match[1]) > start:
            raise BadReply(f"{url.shown} returned an invalid 416 for a range from byte {start}")
        return 0, int(match[1])
    return _sizes_of_part(response, url, start, stop)


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
