# SPDX-License-Identifier: Apache-2.0
"""The clients: as little work as will do, on plain sockets.

A server must be what is waited for, also on a machine with few cores.  So
requests are bytes made beforehand, and of an answer only the status, the
Content-Length and the number of bytes are looked at.
"""

import itertools
import select
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import NamedTuple

_HOST = "127.0.0.1"
_PATIENCE = 60.0
_BUFFER_SIZE = 1024 * 1024

_OK = b"HTTP/1.1 200 "
_LENGTH = b"\r\nContent-Length: "
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


def requests_for(paths: Iterable[str]) -> list[bytes]:
    """The bytes of a GET of each path, on a connection that is kept."""
    return [f"GET {path} HTTP/1.1\r\nHost: {_HOST}\r\n\r\n".encode() for path in paths]


def ask(port: int, requests: Sequence[bytes], size: int, connections: int, seconds: float) -> Load:
    """Ask over and over on kept-alive connections, one request at a time on each.

    :param requests: asked in turn, from the first again after the last.
    :param size: the bytes that each answer's body must have.
    :raises WrongAnswer: the server answers otherwise.
    """
    upcoming = itertools.cycle(requests)
    with ExitStack() as stack:
        poll = stack.enter_context(select.epoll())
        talks = {}
        for _ in range(connections):
            sock = stack.enter_context(socket.create_connection((_HOST, port), _PATIENCE))
            poll.register(sock, select.EPOLLIN)
            talks[sock.fileno()] = _Talk(sock, size)
        cpu, started = time.process_time(), time.perf_counter()
        answers = _converse(poll, talks, upcoming, started + seconds)
        return Load(answers, time.perf_counter() - started, time.process_time() - cpu)


def _converse(
    poll: select.epoll, talks: dict[int, "_Talk"], upcoming: Iterator[bytes], deadline: float
) -> int:
    """Ask until the deadline, then wait for what is under way; the number of answers."""
    for talk in talks.values():
        talk.ask(next(upcoming))
    asked, answered = len(talks), 0
    while answered < asked:
        ready = poll.poll(_PATIENCE)
        if not ready:
            raise WrongAnswer("the server does not answer")
        for descriptor, _ in ready:
            talk = talks[descriptor]
            if talk.hear():
                answered += 1
                if time.perf_counter() < deadline:
                    talk.ask(next(upcoming))
                    asked += 1
    return answered


class _Talk:
    """One connection with at most one request under way."""

    def __init__(self, sock: socket.socket, size: int) -> None:
        self._sock = sock
        self._size = size
        self._answer = b""

    def ask(self, request: bytes) -> None:
        self._sock.sendall(request)

    def hear(self) -> bool:
        """Receive what is there; whether the answer is whole now."""
        data = self._sock.recv(65536)
        if not data:
            raise WrongAnswer("the server closed a connection that was to be kept")
        self._answer += data
        head = self._answer.find(_BLANK_LINE)
        if head < 0:
            return False
        end = head + len(_BLANK_LINE) + _checked_length(self._answer, self._size)
        if len(self._answer) < end:
            return False
        if len(self._answer) > end:
            raise WrongAnswer("the server sent more than it told")
        self._answer = b""
        return True


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
        while count := sock.recv_into(buffer):
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
