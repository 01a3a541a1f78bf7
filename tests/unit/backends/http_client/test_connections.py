# SPDX-License-Identifier: Apache-2.0
import contextlib
import http.client
import io
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from imageapi.backends.http_client import connections
from imageapi.backends.http_client.connections import _Response, _SmallResponse

Ends = tuple[socket.socket, socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """The client's and the server's end of a connection."""
    client, server = socket.socketpair()
    client.settimeout(60)
    with client, server:
        yield client, server


def new_response(client: Any, kind: type[_Response] = _Response) -> contextlib.closing[_Response]:
    return contextlib.closing(kind(client, method="GET"))


def read_all(response: _Response) -> None:
    while response.read1(1):
        pass


def test_the_end_of_the_connection_does_not_end_the_headers(ends: Ends) -> None:
    client, server = ends
    server.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n")
    server.close()
    with new_response(client) as response, pytest.raises(http.client.IncompleteRead):
        response.begin()


@pytest.mark.parametrize(
    "head",
    [
        b"200 OK\r\nContent-Length: 5\r\nContent-Length: 6",
        b"200 OK\r\nContent-Length: +5",
        b"200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
        b"200 OK\r\nTransfer-Encoding: gzip, chunked",
        b"200 OK\r\nno colon",
        b"103 Early Hints",
    ],
)
def test_ambiguous_headers_are_refused(ends: Ends, head: bytes) -> None:
    client, server = ends
    server.sendall(b"HTTP/1.1 " + head + b"\r\n\r\n")
    with new_response(client) as response, pytest.raises(http.client.HTTPException):
        response.begin()


@pytest.mark.parametrize("body", [b"", b"3\r\nabc\r\n", b"-1\r\n", b"3 x\r\nabc", b"3\r\nabcde"])
def test_only_a_last_chunk_ends_chunks(ends: Ends, body: bytes) -> None:
    client, server = ends
    server.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
    server.close()
    with new_response(client) as response:
        response.begin()
        with pytest.raises(http.client.IncompleteRead):
            read_all(response)


def test_a_large_read_returns_what_has_arrived(ends: Ends) -> None:
    client, server = ends
    server.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    with new_response(client) as response:
        response.begin()
        server.sendall(b"12345")
        assert response.read(1000) == b"12345"


class Dripping:
    """A socket that returns one byte at each read, one second after the one before."""

    def __init__(self, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
        self._data = io.BytesIO(data)
        self._now = 0
        monkeypatch.setattr(connections, "time", SimpleNamespace(monotonic=lambda: self._now))

    def makefile(self, *_: Any, **__: Any) -> io.BytesIO:
        return io.BytesIO()

    def gettimeout(self) -> float:
        return 100

    def settimeout(self, _: float) -> None:
        pass

    def recv_into(self, buffer: memoryview) -> int:
        self._now += 1
        data = self._data.read(1)
        buffer[: len(data)] = data
        return len(data)


def test_headers_have_one_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    head = b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100 + b"\r\n\r\n"
    client = Dripping(head, monkeypatch)
    with new_response(client) as response, pytest.raises(TimeoutError):
        response.begin()


@pytest.mark.parametrize(("kind", "is_late"), [(_Response, False), (_SmallResponse, True)])
def test_only_a_small_body_shares_the_timeout_of_the_headers(
    monkeypatch: pytest.MonkeyPatch, kind: type[_Response], is_late: bool
) -> None:
    data = b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n" + b"x" * 90
    with new_response(Dripping(data, monkeypatch), kind) as response:
        response.begin()
        with pytest.raises(TimeoutError) if is_late else contextlib.nullcontext():
            read_all(response)
