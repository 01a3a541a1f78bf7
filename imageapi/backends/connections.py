# SPDX-License-Identifier: Apache-2.0
"""urllib3's connections, stricter with the heads of answers.

A head must come within the read timeout as a whole: a timeout of each read
never fires on a server that drips.  One that is malformed, or tells the length
in two ways, is no answer.  Data is read in large reads, straight into what is
handed on; where it comes slowly, what there is is handed on.
"""

import http.client
import io
import re
import socket
import time
from typing import Any, cast

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

# How many seconds a large read goes on once it has something.
_GATHERED = 0.2

_LENGTH = re.compile(r"[0-9]{1,19}")


class _Received(io.RawIOBase):
    """What a socket receives: first a head, until a deadline; then data, in large reads."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        # Not read, but as long as it is open the socket stays open.
        self._reference = sock.makefile("rb", buffering=0)
        self._timeout = sock.gettimeout()
        self._deadline = None if self._timeout is None else time.monotonic() + self._timeout
        self._gathers = False
        self._until: float | None = None
        self.ended = False

    def makefile(self, _mode: str) -> io.BufferedReader:
        """As http.client asks a socket."""
        return io.BufferedReader(self)

    def relax(self) -> None:
        """Let each read take the whole timeout from now on."""
        self._deadline = None

    def gather(self) -> None:
        """Let the read that follows end soon after it has something, full or not."""
        self._gathers = True
        self._until = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._time_left()
        try:
            if left is not None and left <= 0:
                raise TimeoutError("timed out")
            self._sock.settimeout(left)
            count = self._sock.recv_into(buffer)
        except TimeoutError:
            if self._deadline is not None or self._until is None:
                raise
            # Means to a BufferedReader that what it has is all for now.
            return None
        self.ended = count == 0
        if self._gathers and self._until is None:
            self._until = time.monotonic() + _GATHERED
        return count

    def close(self) -> None:
        self._reference.close()
        super().close()

    def _time_left(self) -> float | None:
        limit = self._until if self._deadline is None else self._deadline
        return self._timeout if limit is None else limit - time.monotonic()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        self._received = _Received(sock)
        super().__init__(cast(socket.socket, self._received), *args, **kwargs)

    def read(self, amt: int | None = None) -> bytes:
        # Of chunked data each chunk must be read whole.
        if amt is not None and not self.chunked:
            self._received.gather()
        return super().read(amt)

    def begin(self) -> None:
        super().begin()
        self._received.relax()
        if self._received.ended:
            # http.client takes the end of the connection for the end of the head.
            raise http.client.IncompleteRead(b"")
        # urllib3 would log it, with the URL, and go on.
        if self.headers.defects or self.headers.get_payload():
            raise http.client.HTTPException("malformed headers")
        lengths = set(self.headers.get_all("Content-Length", []))
        encodings = self.headers.get_all("Transfer-Encoding", [])
        if encodings and (lengths or [text.strip().lower() for text in encodings] != ["chunked"]):
            raise http.client.HTTPException("an unknown framing, or two of them")
        if len(lengths) > 1 or not all(map(_LENGTH.fullmatch, lengths)):
            raise http.client.HTTPException("a length that is none, or two of them")


class _HTTPConnection(HTTPConnection):
    response_class = _Response


class _HTTPSConnection(HTTPSConnection):
    response_class = _Response


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


#: For a PoolManager's ``pool_classes_by_scheme``.
POOLS: dict[str, type[HTTPConnectionPool]] = {"http": _HTTPPool, "https": _HTTPSPool}
