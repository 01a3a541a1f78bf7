# SPDX-License-Identifier: Apache-2.0
"""urllib3's connections, with stricter parsing of responses and with deadlines.

The status line and headers must arrive within one read timeout, and so must each
further read.  A timeout per byte would never fire on a server that drips.
Headers that are truncated or malformed, or that give the length twice, are an
invalid response.  Data is read in large reads, straight into the chunk that is
passed on.  If data arrives slowly, a read returns what has arrived.
"""

import contextlib
import http.client
import io
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from email.errors import MultipartInvariantViolationDefect, StartBoundaryNotFoundDefect
from typing import Any, cast

from urllib3 import PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

# How many seconds a large read continues after its first bytes.
_GATHERED = 0.2

_LENGTH = re.compile(r"[0-9]{1,19}")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\n]*)?\r\n")
_LONGEST_LINE = 65536

# The defects that the parser reports for every multipart Content-Type.
_HARMLESS = (StartBoundaryNotFoundDefect, MultipartInvariantViolationDefect)


class _Received(io.RawIOBase):
    """Reads from a socket in large reads, up to a deadline if there is one."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        # Never read from, but it keeps the socket open.
        self._reference = sock.makefile("rb", buffering=0)
        self._timeout = sock.gettimeout()
        self.ended = False
        self.start()

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Called by http.client, as on a socket."""
        return io.BufferedReader(self)

    def start(self, *, gathers: bool = False) -> None:
        """Start the timeout for everything that follows, in any number of reads.

        :param gathers: whether the next read returns soon after its first bytes, even
            if it is not full.
        """
        self._gathers = gathers
        self._has_some = False
        self._until = None if self._timeout is None else time.monotonic() + self._timeout

    def expect_end(self) -> None:
        """Over TLS, accept the end of the connection only after a TLS close."""
        if isinstance(self._sock, ssl.SSLSocket):
            # typeshed lacks the attribute.
            cast(Any, self._sock).suppress_ragged_eofs = False

    def shut(self) -> None:
        """Shut the connection down at once, with TLS too; wakes a thread that reads."""
        # TypeError: TLS inside the TLS of a proxy is not a socket object.
        with contextlib.suppress(OSError, TypeError):
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        try:
            count = self._receive_into(buffer)
        except TimeoutError as error:
            if self._gathers and self._has_some and error.errno is None:
                # None tells a BufferedReader to return what it has.
                return None
            raise
        self.ended = count == 0
        if self._gathers and not self._has_some:
            self._has_some = True
            self._until = time.monotonic() + _GATHERED
        return count

    def close(self) -> None:
        self._reference.close()
        super().close()

    def _receive_into(self, buffer: Any) -> int:
        if self._until is not None:
            left = self._until - time.monotonic()
            if left <= 0:
                raise TimeoutError("timed out")
            self._sock.settimeout(left)
        return self._sock.recv_into(buffer)


class _Response(http.client.HTTPResponse):
    """A response whose headers arrive in time; headers and chunks must be valid."""

    #: True if the body too must arrive within the timeout of the headers.
    is_small = False

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        self._received = _Received(sock)
        self._lock = threading.Lock()
        self._is_being_read = False
        self._is_to_close = False
        super().__init__(cast(socket.socket, self._received), *args, **kwargs)

    def read(self, amt: int | None = None) -> bytes:
        if not self.is_small:
            self._received.start(gathers=True)
        with self._being_read():
            return super().read(amt)

    def read1(self, n: int = -1) -> bytes:
        if not self.is_small:
            self._received.start()
        with self._being_read():
            data = super().read1(n)
        if self.chunked and not data and self._received.ended:
            # http.client accepts the end of the connection as the end of the chunks.
            raise http.client.IncompleteRead(b"")
        return data

    def close(self) -> None:
        with self._lock:
            if self._is_being_read:
                # Another thread waits for data: wake it, and it closes this response.
                self._is_to_close = True
                self._received.shut()
                return
        super().close()

    def begin(self) -> None:
        try:
            super().begin()
        except ValueError:
            # From the e-mail parser that http.client uses for headers.
            raise http.client.HTTPException("the response headers cannot be parsed") from None
        if self._received.ended:
            # http.client accepts the end of the connection as the end of the headers.
            raise http.client.IncompleteRead(b"")
        self._received.expect_end()
        if self.status < 200:
            # http.client skips only 100.  After another 1xx, it would assign the final
            # response to the next request.
            raise http.client.HTTPException("an unexpected 1xx response")
        self._check_header_syntax()
        self._check_framing()

    @contextlib.contextmanager
    def _being_read(self) -> Iterator[None]:
        with self._lock:
            self._is_being_read = True
        try:
            yield
        finally:
            with self._lock:
                self._is_being_read = False
            if self._is_to_close:
                # Also if the data arrived just then: the thread may not read again.
                super().close()

    def _check_header_syntax(self) -> None:
        """Reject malformed headers: urllib3 would log them, with the URL, and continue."""
        defects = [one for one in self.headers.defects if not isinstance(one, _HARMLESS)]
        payload = self.headers.get_payload()
        if defects or (isinstance(payload, str) and payload):
            raise http.client.HTTPException("malformed headers")

    def _check_framing(self) -> None:
        lengths = {text.strip() for text in self.headers.get_all("Content-Length", [])}
        encodings = self.headers.get_all("Transfer-Encoding", [])
        # Compare as http.client does: it does not decode any other encoding.
        if encodings and (lengths or [text.lower() for text in encodings] != ["chunked"]):
            raise http.client.HTTPException("unsupported or conflicting Transfer-Encoding")
        if len(lengths) > 1 or not all(map(_LENGTH.fullmatch, lengths)):
            raise http.client.HTTPException("invalid or conflicting Content-Length")

    # These two override steps of http.client that are laxer than RFC 9112, 7.1.

    def _read_next_chunk_size(self) -> int:
        line = self.fp.readline(_LONGEST_LINE + 1)
        match = _CHUNK_SIZE.fullmatch(line)
        if match is None or len(line) > _LONGEST_LINE:
            raise http.client.IncompleteRead(b"")
        return int(match[1], 16)

    def _safe_read(self, amt: int) -> bytes:
        data: bytes = super()._safe_read(amt)  # type: ignore[misc]  # http.client's own
        # Only the two bytes after a chunk are read by this method, not chunks themselves.
        if data != b"\r\n":
            raise http.client.IncompleteRead(b"")
        return data


class _SmallResponse(_Response):
    is_small = True


def _pools_of(response: type[_Response]) -> Mapping[str, type[HTTPConnectionPool]]:
    """Return pool classes of urllib3 whose connections use this response class."""

    class PlainConnection(HTTPConnection):
        response_class = response

    class TLSConnection(HTTPSConnection):
        response_class = response

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = PlainConnection

    class TLSPool(HTTPSConnectionPool):
        ConnectionCls = TLSConnection

    return {"http": PlainPool, "https": TLSPool}


#: For a PoolManager's ``pool_classes_by_scheme``: for data of any size.
POOLS = _pools_of(_Response)
#: The same, for responses that must arrive completely within the read timeout.
SMALL_POOLS = _pools_of(_SmallResponse)


def close_pools(manager: PoolManager) -> None:
    """Close the kept connections; clear() alone leaves that to the garbage collector."""
    for key in manager.pools.keys():  # noqa: SIM118 - it refuses iteration
        pool = manager.pools.get(key)
        if pool is not None:
            pool.close()
    manager.clear()
