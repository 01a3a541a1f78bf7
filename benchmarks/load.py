# SPDX-License-Identifier: Apache-2.0
"""The clients: as little work as will do, on plain sockets.

A server must be what is waited for, also on a machine with few cores.  So
requests are bytes made beforehand, and of an answer only the status, the
Content-Length and the number of bytes are looked at.
"""

import itertools
import selectors
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import NamedTuple, Protocol

_HOST = "127.0.0.1"
_PATIENCE = 60.0
_BUFFER_SIZE = 1024 * 1024

_OK = b"HTTP/1.1 200 "
_LENGTH = b"\r\nContent-Length: "
_BLANK_LINE = b"\r\n\r\n"


class WrongAnswer(Exception):
    """A server answered otherwise than it should, or not at all."""


class Server(Protocol):
    """What a client must know of a server."""

    @property
    def port(self) -> int: ...
    @property
    def keeps_connections(self) -> bool: ...


class Load(NamedTuple):
    """What came of a turn of load."""

    answers: int
    seconds: float
    client_cpu: float

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answers / self.seconds


def requests_for(paths: Iterable[str]) -> Iterator[bytes]:
    """The bytes of a GET of each path, and after the last from the first again."""
    return itertools.cycle(
        [f"GET {path} HTTP/1.1\r\nHost: {_HOST}\r\n\r\n".encode() for path in paths]
    )


def ask(
    server: Server, requests: Iterator[bytes], size: int, connections: int, seconds: float
) -> Load:
    """Ask over and over, with one request at a time on each connection.

    :param server: where, and whether it keeps connections; else each request
        gets one of its own.
    :param requests: without an end; the next call goes on where this one stopped.
    :param size: the bytes that each answer's body must have.
    :raises WrongAnswer: the server answers otherwise.
    """
    with selectors.DefaultSelector() as selector, ExitStack() as stack:
        talks = [
            stack.enter_context(closing(_Talk(server, size, selector))) for _ in range(connections)
        ]
        cpu, started = time.process_time(), time.perf_counter()
        for talk in talks:
            talk.ask(next(requests))
        answers = _converse(selector, connections, requests, started + seconds)
        return Load(answers, time.perf_counter() - started, time.process_time() - cpu)


def _converse(
    selector: selectors.BaseSelector, asked: int, requests: Iterator[bytes], deadline: float
) -> int:
    """Go on asking until the deadline, then wait for the rest; the number of answers."""
    answered = 0
    while answered < asked:
        ready = selector.select(_PATIENCE)
        if not ready:
            raise WrongAnswer("the server does not answer")
        for key, _ in ready:
            talk: _Talk = key.data
            if talk.hear():
                answered += 1
                if time.perf_counter() < deadline:
                    talk.ask(next(requests))
                    asked += 1
    return answered


class _Talk:
    """Requests and answers, one after the other."""

    def __init__(self, server: Server, size: int, selector: selectors.BaseSelector) -> None:
        """Connect.

        :param selector: is to wake this, which is the data of the key there.
        """
        self._server = server
        self._size = size
        self._selector = selector
        self._answer = b""
        self._is_used = False
        self._connect()

    def close(self) -> None:
        self._selector.unregister(self._sock)
        self._sock.close()

    def ask(self, request: bytes) -> None:
        if self._is_used and not self._server.keeps_connections:
            self.close()
            self._connect()
        self._is_used = True
        self._sock.sendall(request)

    def hear(self) -> bool:
        """Receive what is there; whether the answer, and the connection with it, is at its end."""
        data = self._sock.recv(65536)
        if not data and self._server.keeps_connections:
            raise WrongAnswer("the server closed a connection that was to be kept")
        self._answer += data
        if not (self._is_whole() and (self._server.keeps_connections or not data)):
            return False
        self._answer = b""
        return True

    def _connect(self) -> None:
        self._sock = socket.create_connection((_HOST, self._server.port), _PATIENCE)
        self._selector.register(self._sock, selectors.EVENT_READ, self)

    def _is_whole(self) -> bool:
        head = self._answer.find(_BLANK_LINE)
        if head < 0:
            return False
        missing = head + len(_BLANK_LINE) + _checked_length(self._answer, self._size)
        missing -= len(self._answer)
        if missing < 0:
            raise WrongAnswer("the server sent more than it told")
        return not missing


def download(port: int, path: str, size: int) -> float:
    """Download on a connection of its own and discard what comes; the seconds it took.

    :param size: the bytes that there must be.
    """
    return _download(port, path, size, None)


def download_together(port: int, path: str, size: int, count: int) -> None:
    """Download so often at once.

    Each waits after its first bytes for all others, so that the server really
    has all of them under way.
    """
    all_begun = threading.Barrier(count, timeout=_PATIENCE)
    with ThreadPoolExecutor(count) as threads:
        for future in [
            threads.submit(_download, port, path, size, all_begun) for _ in range(count)
        ]:
            future.result()


def _download(port: int, path: str, size: int, begun: threading.Barrier | None) -> float:
    buffer = bytearray(_BUFFER_SIZE)
    started = time.perf_counter()
    with socket.create_connection((_HOST, port), _PATIENCE) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: {_HOST}\r\nConnection: close\r\n\r\n".encode())
        received = _receive_head(sock, size)
        if begun is not None:
            begun.wait()
        # uWSGI leaves the connection open for a while, also when asked not to.
        while received < size and (count := sock.recv_into(buffer)):
            received += count
    seconds = time.perf_counter() - started
    if received != size:
        raise WrongAnswer(f"{received} bytes came of {size}")
    return seconds


def _receive_head(sock: socket.socket, size: int) -> int:
    """Receive all headers; how many bytes of the body came along."""
    answer = b""
    while (head := answer.find(_BLANK_LINE)) < 0:
        data = sock.recv(4096)
        if not data:
            raise WrongAnswer("the server closed the connection")
        answer += data
    _checked_length(answer, size)
    return len(answer) - head - len(_BLANK_LINE)


def _checked_length(answer: bytes, size: int) -> int:
    """The Content-Length of an answer that begins as it should."""
    start = answer.find(_LENGTH) + len(_LENGTH)
    length = answer[start : answer.find(b"\r\n", start)]
    if not answer.startswith(_OK) or not length.isdigit() or int(length) != size:
        raise WrongAnswer(f"the server answered {answer[:80]!r}")
    return size
