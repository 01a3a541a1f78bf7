# SPDX-License-Identifier: Apache-2.0
"""urllib3's connections, stricter with the heads of answers.

A head, and each further read, must come within the read timeout as a whole: a
timeout of each byte never fires on a server that drips.  A head that is cut or
malformed, or tells the length in two ways, is no answer.  Data is read in large
reads, straight into what is handed on; where it comes slowly, what there is is
handed on.
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

# How many seconds a large read goes on once it has something.
_GATHERED = 0.2
# And how many bytes it is woken for then: a server that sends small pieces
# would else wake it for each.
_WORTH_WAKING = 512 * 1024

_LENGTH = re.compile(r"[0-9]{1,19}")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\n]*)?\r\n")
_LONGEST_LINE = 65536

# What the parser says of any head whose Content-Type is that of several parts.
_HARMLESS = (StartBoundaryNotFoundDefect, MultipartInvariantViolationDefect)


class _Received(io.RawIOBase):
    """What a socket receives, up to a deadline where there is one, in large reads."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        # Not read, but as long as it is open the socket stays open.
        self._reference = sock.makefile("rb", buffering=0)
        self._timeout = sock.gettimeout()
        self._until: float | None = None
        self._gathers = False
        self._has_some = False
        # What TLS has received already, the system no longer counts.
        self._can_wait = not isinstance(sock, ssl.SSLSocket) and hasattr(sock, "setsockopt")
        self._woken_for = 1
        self.ended = False
        self.start()

    def makefile(self, _mode: str) -> io.BufferedReader:
        """As http.client asks a socket."""
        return io.BufferedReader(self)

    def start(self) -> None:
        """Let all that follows come within the timeout, however many reads it takes."""
        self._gathers = False
        self._until = None if self._timeout is None else time.monotonic() + self._timeout

    def gather(self) -> None:
        """Let the one read that follows end soon after it has something, full or not."""
        self.start()
        self._gathers = True
        self._has_some = False

    def gathered(self) -> None:
        """Be woken for the first byte again, as whoever gets the connection next must be."""
        # OSError: the connection is closed, and nobody gets it.
        with contextlib.suppress(OSError):
            self._wake_for(1)

    def expect_end(self) -> None:
        """Take the end of a connection for an end only where TLS says that it is one."""
        if isinstance(self._sock, ssl.SSLSocket):
            # typeshed lacks the attribute.
            cast(Any, self._sock).suppress_ragged_eofs = False

    def shut(self) -> None:
        """Wake whoever reads, and have no more sent; for SSL sockets too, at once."""
        # TypeError: TLS within a proxy's TLS is no socket.
        with contextlib.suppress(OSError, TypeError):
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        try:
            count = self._receive_into(buffer)
        except TimeoutError as error:
            if self._gathers and self._has_some and error.errno is None:
                # Means to a BufferedReader that what it has is all for now.
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
        if self._gathers and self._has_some:
            self._wake_for(min(len(buffer), _WORTH_WAKING))
        return self._sock.recv_into(buffer)

    def _wake_for(self, size: int) -> None:
        if self._can_wait and size != self._woken_for:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)
            self._woken_for = size


class _Response(http.client.HTTPResponse):
    """An answer whose head comes in time, and is sound, and whose chunks are."""

    #: Whether all of it must come within one timeout, and not just its head.
    is_small = False

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        self._received = _Received(sock)
        self._lock = threading.Lock()
        self._is_being_read = False
        self._is_to_close = False
        super().__init__(cast(socket.socket, self._received), *args, **kwargs)

    def read(self, amt: int | None = None) -> bytes:
        if not self.is_small:
            self._received.gather()
        try:
            with self._being_read():
                return super().read(amt)
        finally:
            self._received.gathered()

    def read1(self, n: int = -1) -> bytes:
        if not self.is_small:
            self._received.start()
        with self._being_read():
            data = super().read1(n)
        if self.chunked and not data and self._received.ended:
            # http.client takes the end of the connection for that of the chunks.
            raise http.client.IncompleteRead(b"")
        return data

    def close(self) -> None:
        with self._lock:
            if self._is_being_read:
                # Another thread waits for data: it is woken, and closes this.
                self._is_to_close = True
                self._received.shut()
                return
        super().close()

    def begin(self) -> None:
        try:
            super().begin()
        except ValueError:
            # Of the parser of mail that http.client uses for headers.
            raise http.client.HTTPException("the response headers cannot be parsed") from None
        if self._received.ended:
            # http.client takes the end of the connection for the end of the head.
            raise http.client.IncompleteRead(b"")
        self._received.expect_end()
        if self.status < 200:
            # http.client knows 100 only, and would take the next answer for another's.
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
                # Even where the data came just then, and the thread asks for no more.
                super().close()

    def _check_header_syntax(self) -> None:
        """urllib3 would log it, with the URL, and go on."""
        defects = [one for one in self.headers.defects if not isinstance(one, _HARMLESS)]
        payload = self.headers.get_payload()
        if defects or (isinstance(payload, str) and payload):
            raise http.client.HTTPException("malformed headers")

    def _check_framing(self) -> None:
        lengths = {text.strip() for text in self.headers.get_all("Content-Length", [])}
        encodings = self.headers.get_all("Transfer-Encoding", [])
        # Just as http.client compares it: what it does not know it does not decode.
        if encodings and (lengths or [text.lower() for text in encodings] != ["chunked"]):
            raise http.client.HTTPException("unsupported or conflicting Transfer-Encoding")
        if len(lengths) > 1 or not all(map(_LENGTH.fullmatch, lengths)):
            raise http.client.HTTPException("invalid or conflicting Content-Length")

    # Two of http.client's own steps, which are laxer than RFC 9112, 7.1.

    def _read_next_chunk_size(self) -> int:
        line = self.fp.readline(_LONGEST_LINE + 1)
        match = _CHUNK_SIZE.fullmatch(line)
        if match is None or len(line) > _LONGEST_LINE:
            raise http.client.IncompleteRead(b"")
        return int(match[1], 16)

    def _safe_read(self, amt: int) -> bytes:
        data: bytes = super()._safe_read(amt)  # type: ignore[misc]  # http.client's own
        # Chunks themselves are read otherwise: these are the two bytes after one.
        if data != b"\r\n":
            raise http.client.IncompleteRead(b"")
        return data


class _SmallResponse(_Response):
    is_small = True


def _pools_of(response: type[_Response]) -> Mapping[str, type[HTTPConnectionPool]]:
    """urllib3's pools, whose connections answer with this class."""

    class PlainConnection(HTTPConnection):
        response_class = response

    class TLSConnection(HTTPSConnection):
        response_class = response

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = PlainConnection

    class TLSPool(HTTPSConnectionPool):
        ConnectionCls = TLSConnection

    return {"http": PlainPool, "https": TLSPool}


#: For a PoolManager's ``pool_classes_by_scheme``: data of any size.
POOLS = _pools_of(_Response)
#: The same, for answers that are to come within the read timeout as a whole.
SMALL_POOLS = _pools_of(_SmallResponse)


def close_pools(manager: PoolManager) -> None:
    """Close the connections that are kept; clear() alone leaves that to the garbage collector."""
    for key in manager.pools.keys():  # noqa: SIM118 - it refuses iteration
        pool = manager.pools.get(key)
        if pool is not None:
            pool.close()
    manager.clear()
