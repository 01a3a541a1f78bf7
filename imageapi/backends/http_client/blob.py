# SPDX-License-Identifier: Apache-2.0
"""The data of an HTTP answer, which must be just the part that was asked for."""

import re
from collections.abc import Callable
from typing import Any

from urllib3.response import HTTPResponse

from imageapi.backends.base import Blob
from imageapi.backends.http_client.client import telling
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
    """What asks a server for a part; nothing for the whole.

    :raises RangeNotSupported: HTTP cannot ask for no byte at all.
    """
    if stop is not None and stop <= start:
        raise RangeNotSupported("HTTP cannot request an empty range")
    if not start and stop is None:
        return {}
    # Servers refuse numbers that they cannot hold; that far is the end.
    last = "" if stop is None or stop > _FARTHEST else stop - 1
    return {"Range": f"bytes={start}-{last}"}


def open_blob(
    response: HTTPResponse,
    url: Url,
    check_status: Callable[[HTTPResponse, Url], None],
    version: str | None,
    **how: Any,
) -> "HTTPBlob":
    """Take over an answer, as data where it is, and closed where it is not.

    :param check_status: raises what an answer means that has no data.
    :param version: what the bytes must be.
    :param how: as for `HTTPBlob`.
    :raises BackendError: it is not the data that was asked for.
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
    """The data of an answer, which it owns."""

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
        """Take over an answer with status 200, 206 or 416, once nothing is raised.

        :param start, stop: the part that was asked for.
        :param version_of: what version an answer says that its bytes are; it
            is given the size of the whole too.
        :raises RangeNotSupported: a part was asked for, and the whole is the answer.
        :raises BadReply: it is neither the whole nor that part.
        """
        is_part = start > 0 or stop is not None
        # How many bytes there must still be; None where nobody knows.
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
            with telling(self._url):
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
            # One chunk of theirs, or a part of it.
            return response.read1(size, decode_content=False)
        return response.read(size, decode_content=False)

    def _counted(self, chunk: bytes) -> bytes:
        """A part must be as long as it says, also where its framing does not tell."""
        if self._left is not None:
            self._left -= len(chunk)
            if self._left < 0 or (self._left > 0 and not chunk):
                raise BackendUnavailable(f"{self._url.shown} sent a wrong number of bytes")
        return chunk


def _sizes_of_part(
    response: HTTPResponse, url: Url, start: int, stop: int | None
) -> tuple[int, int | None]:
    """How long the part is, and the whole, where the part is the one that was asked for."""
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    if match is not None:
        first, last = int(match[1]), int(match[2])
        size = None if match[3] == "*" else int(match[3])
        ends = [end for end in (stop, size) if end is not None]
        length = last - first + 1
        # Up to an end that nobody tells there is no telling whether it is all.
        is_wanted = bool(ends) and first == start and length > 0 and last + 1 == min(ends)
        if is_wanted and response.length_remaining in (None, length):
            return length, size
    raise BadReply(f"{url.shown} returned another range than the one requested")


def _size_of_unsatisfied(response: HTTPResponse, url: Url, start: int) -> int:
    """The size of data that ends before a part that was asked for."""
    match = _UNSATISFIED_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    if match is None or int(match[1]) > start:
        raise BadReply(f"{url.shown} returned an invalid 416 for a range from byte {start}")
    return int(match[1])
