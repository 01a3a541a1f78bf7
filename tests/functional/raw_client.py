# SPDX-License-Identifier: Apache-2.0
"""A client that sends raw bytes and accepts only answers without any fault."""

import contextlib
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import BinaryIO, NamedTuple

from urllib3 import HTTPHeaderDict

_STATUS_LINE = re.compile(r"HTTP/1\.[01] ([1-5][0-9]{2}) ([\x20-\x7e]+)\r\n")
_HEADER_LINE = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+): ((?:\S(?:.*\S)?)?)\r\n")
_LENGTH = re.compile(r"0|[1-9][0-9]*", re.ASCII)

_NEXT_REQUEST = b"GET /next HTTP/1.1\r\nHost: next\r\nConnection: close\r\n\r\n"

_TIMEOUT = 60


class RawAnswer(NamedTuple):
    """What was received over the connection.

    :ivar headers: each name occurs once; names are compared without regard to case.
    :ivar connection: ``open`` if the next request on it was answered; else ``closed``.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    connection: str


class Pause(NamedTuple):
    """Do something in the middle of the answer, after this number of bytes of its body."""

    after_bytes: int
    do: Callable[[], object]


def exchange(port: int, request: bytes, pause: Pause | None = None) -> RawAnswer:
    """Send one request and read its answer; tells also whether the connection stays open."""
    with socket.socket() as sock:
        sock.settimeout(_TIMEOUT)
        if pause is not None:
            # Otherwise the kernel accepts all that the server sends, before the pause.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.connect(("127.0.0.1", port))
        sock.sendall(request)
        with sock.makefile("rb") as stream:
            status, headers = _read_head(stream)
            length = _body_length(request, status, headers)
            body = _read_body(stream, length, pause)
            is_open = len(body) == length and _is_open(sock, stream, headers)
    return RawAnswer(status, headers, body, "open" if is_open else "closed")


def _read_head(stream: BinaryIO) -> tuple[int, Mapping[str, str]]:
    line = stream.readline().decode("ascii")
    status = _STATUS_LINE.fullmatch(line)
    assert status is not None, f"no status line: {line!r}"
    headers = HTTPHeaderDict()
    while (line := stream.readline().decode("utf-8")) != "\r\n":
        header = _HEADER_LINE.fullmatch(line)
        assert header is not None, f"no header line: {line!r}"
        name, value = header.groups()
        assert name not in headers, f"{name} came twice"
        headers[name] = value
    return int(status[1]), headers


def _body_length(request: bytes, status: int, headers: Mapping[str, str]) -> int:
    assert "Transfer-Encoding" not in headers
    length = headers.get("Content-Length")
    assert length is None or _LENGTH.fullmatch(length), f"Content-Length: {length}"
    if request.startswith(b"HEAD ") or status == 304:
        return 0
    assert length is not None, "a body without a length"
    return int(length)


def _read_body(stream: BinaryIO, length: int, pause: Pause | None) -> bytes:
    if pause is None:
        return stream.read(length)
    start = stream.read(pause.after_bytes)
    pause.do()
    return start + stream.read(length - len(start))


def _is_open(sock: socket.socket, stream: BinaryIO, headers: Mapping[str, str]) -> bool:
    """Whether the connection stays open. An extra byte after the body breaks the next answer."""
    if headers.get("Connection", "").lower() != "close":
        sock.sendall(_NEXT_REQUEST)
        assert _read_head(stream)[0] == 404
        return True
    rest = stream.read()
    assert not rest, f"came after the end: {rest[:100]!r}"
    return False


@contextlib.contextmanager
def dripping(clients: Sequence[socket.socket], pause: float) -> Iterator[None]:
    """Send one byte on each connection after each pause (seconds), until the block ends."""
    stop = threading.Event()

    def drip() -> None:
        while not stop.wait(pause):
            for client in clients:
                with contextlib.suppress(OSError):  # the server has closed it
                    client.sendall(b"x")

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
