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
from typing import NamedTuple

#: Where all servers listen, and the Host of each request.
HOST = "127.0.0.1"
_PATIENCE = 60.0
_BUFFER_SIZE = 1024 * 1024

_OK = b"HTTP/1.1 200 "
_LENGTH = b"\r\ncontent-length: "  # as names of headers go, in any case
_BLANK_LINE = b"\r\n\r\n"


class WrongAnswer(Exception):
    """A server answered otherwise than it should, or not at all."""


class Load(NamedTuple):
    """What came of a turn of load."""

    answers: int
    seconds: float
    client_cpu: float

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answers / self.seconds


class Download(NamedTuple):
    """How long a download took, and how long its first byte."""

    seconds: float
    first_byte: float


class Questions(NamedTuple):
    """What a server is asked, over and over.

    :ivar requests: without an end; each load goes on where the one before stopped.
    :ivar size: the Content-Length that each answer must have; None for any.
    :ivar has_body: whether so many bytes follow, as they do not after HEAD.
    """

    requests: Iterator[bytes]
    size: int | None
    has_body: bool


def questions(paths: Iterable[str], size: int | None, method: str = "GET") -> Questions:
    """A request for each path, and after the last from the first again."""
    requests = [f"{method} {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode() for path in paths]
    return Questions(itertools.cycle(requests), size, method != "HEAD")


def ask(port: int, asked: Questions, connections: int, seconds: float) -> Load:
    """Ask over and over, with one request at a time on each connection, which is kept.

    :raises WrongAnswer: the server answers otherwise.
    """
    with selectors.DefaultSelector() as selector, ExitStack() as stack:
        talks = [
            stack.enter_context(closing(_Talk(port, asked, selector))) for _ in range(connections)
        ]
        cpu, started = time.process_time(), time.perf_counter()
        for talk in talks:
            talk.ask(next(asked.requests))
        answers = _converse(selector, connections, asked.requests, started + seconds)
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
    """Requests and answers, one after the other, on one connection."""

    def __init__(self, port: int, asked: Questions, selector: selectors.BaseSelector) -> None:
        """Connect.

        :param selector: is to wake this, which is the data of the key there.
        """
        self._asked = asked
        self._selector = selector
        self._answer = b""
        self._sock = socket.create_connection((HOST, port), _PATIENCE)
        selector.register(self._sock, selectors.EVENT_READ, self)

    def close(self) -> None:
        self._selector.unregister(self._sock)
        self._sock.close()

    def ask(self, request: bytes) -> None:
        self._sock.sendall(request)

    def hear(self) -> bool:
        """Receive what is there; whether the answer is at its end."""
        data = self._sock.recv(65536)
        if not data:
            raise WrongAnswer("the server closed a connection that was to be kept")
        self._answer += data
        if not self._is_whole():
            return False
        self._answer = b""
        return True

    def _is_whole(self) -> bool:
        head = self._answer.find(_BLANK_LINE)
        if head < 0:
            return False
        missing = head + len(_BLANK_LINE) - len(self._answer)
        length = checked_length(self._answer, self._asked.size)
        missing += length if self._asked.has_body else 0
        if missing < 0:
            raise WrongAnswer("the server sent more than it told")
        return not missing


def download(port: int, path: str, size: int) -> Download:
    """Download on a connection of its own and discard what comes.

    :param size: the bytes that there must be.
    """
    return _download(port, path, size, None)


def download_together(port: int, path: str, size: int, count: int) -> Download:
    """Download so often at once; what the slowest took.

    Each waits after its first bytes for all others, so that the server really
    has all of them under way.
    """
    all_begun = threading.Barrier(count, timeout=_PATIENCE)
    with ThreadPoolExecutor(count) as threads:
        begun = [threads.submit(_download, port, path, size, all_begun) for _ in range(count)]
        seconds, first_bytes = zip(*(future.result() for future in begun), strict=True)
    return Download(max(seconds), max(first_bytes))


def _download(port: int, path: str, size: int, begun: threading.Barrier | None) -> Download:
    buffer = bytearray(_BUFFER_SIZE)
    with socket.create_connection((HOST, port), _PATIENCE) as sock:
        started = time.perf_counter()
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
        received = _receive_head(sock, size) or sock.recv_into(buffer)
        first_byte = time.perf_counter() - started
        if begun is not None:
            begun.wait()
        # uWSGI leaves the connection open for a while, also when asked not to.
        while received < size and (count := sock.recv_into(buffer)):
            received += count
        seconds = time.perf_counter() - started
    if received != size:
        raise WrongAnswer(f"{received} bytes came of {size}")
    return Download(seconds, first_byte)


def _receive_head(sock: socket.socket, size: int) -> int:
    """Receive all headers; how many bytes of the body came along."""
    answer = b""
    while (head := answer.find(_BLANK_LINE)) < 0:
        data = sock.recv(4096)
        if not data:
            raise WrongAnswer("the server closed the connection")
        answer += data
    checked_length(answer, size)
    return len(answer) - head - len(_BLANK_LINE)


def checked_length(answer: bytes, size: int | None) -> int:
    """The Content-Length of an answer that begins as it should."""
    start = answer.lower().find(_LENGTH) + len(_LENGTH)
    length = answer[start : answer.find(b"\r\n", start)]
    if not answer.startswith(_OK) or not length.isdigit() or size not in (None, int(length)):
        raise WrongAnswer(f"the server answered {answer[:80]!r}")
    return int(length)
