# SPDX-License-Identifier: Apache-2.0
"""Thousands of slow clients and some fast ones at once, on one server.

``python -m tests.functional.load --minutes 10`` does for longer what test_load.py does,
and prints the figures of docs/production.md.
"""

import argparse
import operator
import os
import resource
import selectors
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil

from tests.deployment import Deployment
from tests.functional.http_client import ask
from tests.functional.servers import Running
from tests.functional.waiting import wait_until
from tests.functional.wsgi_servers import by_command, gunicorn

SLOW = 2000
FAST = 50

# This number of slow clients read to the end; the others leave in the middle.
STAYING = 200

# A slow client reads MOUTHFUL bytes in a round. There are ROUNDS rounds in a second.
MOUTHFUL = 8192
ROUNDS = 4

# Each round has TURNS turns. In each turn some of the slow clients read.
TURNS = 10

# Seconds; longer than any client waits for its next bytes, even on a busy machine.
PATIENCE = 60

DATA = {"large": os.urandom(1_000_000), "small": os.urandom(300_000)}

#: Configured as docs/production.md says for this number of clients.
LOADED: dict[str, Callable[[Deployment], AbstractContextManager[Running]]] = {
    "serve": by_command(*("imageapi", "--config-file", "CONFIG", "serve", "--port", "PORT")),
    "gevent": gunicorn("--worker-class=gevent", "--workers=1", "--worker-connections=3000"),
}


HEAD = """\
| KiB that a slow client got: least, median | downloads of a fast client: least, median, most\
 | whole downloads of all clients | descriptors and memory of the worker with all clients\
 | after all clients had left |
| --- | --- | --- | --- | --- |"""


@contextmanager
def loaded_server(name: str, folder: Path, chunk_size: int) -> Iterator[tuple[int, psutil.Process]]:
    """A server with both images; yields its port and its only worker."""
    deployment = Deployment(folder)
    deployment.configure(core=f"chunk_size = {chunk_size}")
    for image_id, data in DATA.items():
        deployment.add(image_id, data)
    with descriptors(3 * SLOW), LOADED[name](deployment) as server:
        assert ask(server.port, "/v1/images/large", "HEAD").status == 200
        yield server.port, server.children()[0]
    log = (folder / "server.log").read_text()
    for word in ("[ERROR]", "[CRITICAL]", " ERROR ", " CRITICAL ", "Traceback"):
        assert word not in log, log[-10_000:]


@contextmanager
def descriptors(wanted: int) -> Iterator[None]:
    """Let this process and each of its children open this number of descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise RuntimeError(f"needs {wanted} descriptors: raise the hard limit (ulimit -Hn), {hard}")
    if soft != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class LoadClient:
    """Downloads an image again and again, each time on a new connection, and compares each byte.

    :ivar socket: the socket of the current download.
    :ivar taken: how many bytes were received in all downloads.
    :ivar complete: how many downloads were complete and right.
    """

    def __init__(self, port: int, image_id: str, name: str) -> None:
        self._name, self._port, self._data = name, port, DATA[image_id]
        self._request = b"GET /v1/images/%b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % (
            image_id.encode()
        )
        self.taken = self.complete = 0
        self.begin()

    def begin(self) -> None:
        """Begin a download."""
        self._position: int | None = None  # None before the body
        self._head = b""
        self.socket = socket.socket()
        # The segment size of Ethernet. With loopback's large segments the system would
        # send megabytes before the client reads.
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1460)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * MOUTHFUL)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(("127.0.0.1", self._port))
        self.socket.sendall(self._request)
        self.socket.setblocking(False)

    def take(self, size: int) -> bool:
        """Read at most this number of bytes, without waiting; returns whether it was the last.

        :raises AssertionError: the bytes are wrong, or the connection was closed too early.
        """
        try:
            chunk = self.socket.recv(size)
        except BlockingIOError:
            return False
        except OSError as error:
            raise self._broken(str(error)) from None
        if not chunk:
            raise self._broken("the connection was closed")
        self.taken += len(chunk)
        body = chunk if self._position is not None else self._without_head(chunk)
        if self._position is not None:
            self._compare(body, self._position)
        if self._position != len(self._data):
            return False
        self.complete += 1
        self.socket.close()
        return True

    def _without_head(self, chunk: bytes) -> bytes:
        self._head, end, body = (self._head + chunk).partition(b"\r\n\r\n")
        if not end:
            return b""
        lines = self._head.split(b"\r\n")
        length = b"content-length: %d" % len(self._data)
        if lines[0] != b"HTTP/1.1 200 OK" or length not in map(bytes.lower, lines):
            raise self._broken(f"answered with {self._head!r}")
        self._head, self._position = b"", 0
        return body

    def _compare(self, chunk: bytes, position: int) -> None:
        if not self._data.startswith(chunk, position):
            raise self._broken("other bytes")
        self._position = position + len(chunk)

    def _broken(self, what: str) -> AssertionError:
        return AssertionError(f"{self._name}, at byte {self._position} of its body: {what}")


class Burst(NamedTuple):
    """The results of some rounds.

    :ivar slow: the bytes that each slow client received.
    :ivar fast: the downloads that each fast client completed.
    :ivar rounds: how many there were.
    :ivar whole: the number of complete downloads of all clients.
    :ivar held: the worker's descriptors and resident bytes while all were there.
    :ivar left: the same, when all had left.
    """

    slow: Sequence[int]
    fast: Sequence[int]
    rounds: int
    whole: int
    held: tuple[int, int]
    left: tuple[int, int]


def burst(port: int, worker: psutil.Process, rounds: int) -> Burst:
    """All clients connect, download for some rounds, and leave, most of them in the middle.

    :raises AssertionError: a client received wrong bytes, or nothing.
    """
    idle = worker.num_fds()
    slow = [LoadClient(port, "large", f"slow client {number}") for number in range(SLOW)]
    fast = [LoadClient(port, "small", f"fast client {number}") for number in range(FAST)]
    try:
        _until([*slow, *fast], lambda client: client.taken > 0, MOUTHFUL)
        before = [client.taken for client in slow], [client.complete for client in fast]
        rounds = _rounds(slow, fast, rounds)
        after = [client.taken for client in slow], [client.complete for client in fast]
        held = _state(worker)
        _leave([*slow[STAYING:], *fast])
        staying = {client: client.complete for client in slow[:STAYING]}
        _until([*staying], lambda client: client.complete > staying[client], 262144)
    finally:
        _leave([*slow, *fast])
    wait_until(lambda: worker.num_fds() <= idle, "the server holds what its clients have left")
    slow_got, fast_got = (
        [now - then for then, now in zip(*counts, strict=True)]
        for counts in zip(before, after, strict=True)
    )
    whole = sum(client.complete for client in [*slow, *fast])
    return Burst(slow_got, fast_got, rounds, whole, held, _state(worker))


def _rounds(slow: Sequence[LoadClient], fast: Sequence[LoadClient], rounds: int) -> int:
    """In each round a slow client reads MOUTHFUL bytes, and a fast client reads all that arrives.

    There are more rounds if a fast client has completed nothing yet, because the machine may
    be busy. Returns the number of rounds.
    """
    begun = [client.complete for client in fast]
    with selectors.DefaultSelector() as selector:
        for client in fast:
            selector.register(client.socket, selectors.EVENT_READ, client)
        turn = time.monotonic()
        for number in range(max(rounds, PATIENCE * ROUNDS) * TURNS):
            complete = [client.complete for client in fast]
            if number >= rounds * TURNS and all(map(operator.gt, complete, begun)):
                break
            turn += 1 / (ROUNDS * TURNS)
            _take_all(selector, turn)
            for client in slow[number % TURNS :: TURNS]:
                if client.take(MOUTHFUL):
                    client.begin()
    return number // TURNS


def _take_all(selector: selectors.BaseSelector, until: float) -> None:
    """Let the clients of a selector read all that arrives, at least once."""
    is_due = False
    while not is_due:
        left = until - time.monotonic()
        for key, _ in selector.select(max(left, 0)):
            if key.data.take(65536):
                selector.unregister(key.fileobj)
                key.data.begin()
                selector.register(key.data.socket, selectors.EVENT_READ, key.data)
        is_due = left <= 0


def _until(clients: Sequence[LoadClient], done: Callable[[LoadClient], bool], size: int) -> None:
    """Let each client read all that arrives until it is done."""
    with selectors.DefaultSelector() as selector:
        for client in clients:
            selector.register(client.socket, selectors.EVENT_READ, client)
        while waiting := len(selector.get_map()):
            events = selector.select(PATIENCE)
            assert events, f"{waiting} clients wait and get nothing"
            for key, _ in events:
                key.data.take(size)
                if done(key.data):
                    selector.unregister(key.fileobj)


def _leave(clients: Sequence[LoadClient]) -> None:
    for client in clients:
        client.socket.close()


def _state(worker: psutil.Process) -> tuple[int, int]:
    return worker.num_fds(), worker.memory_info().rss


def check_bursts(bursts: Sequence[Burst]) -> None:
    """Check bursts that ran one after another. The first one warms the server up.

    :raises AssertionError: clients starved, or the server kept descriptors or memory.
    """
    first = bursts[0]
    for this in bursts:
        # If the machine is not busy, a slow client gets nearly all that it can read.
        assert statistics.median(this.slow) >= this.rounds * MOUTHFUL / 10, "all slow ones starve"
        assert min(this.slow) >= statistics.median(this.slow) / 4, "a slow client starves"
        assert min(this.fast) >= max(1, statistics.median(this.fast) / 4), "a fast client starves"
        assert this.left[0] <= first.left[0], "descriptors are left open"
        assert this.held[0] <= first.left[0] + 2 * (SLOW + FAST), "descriptors are opened twice"
        # The memory that the allocator keeps varies by some chunks.
        assert this.held[1] <= first.held[1] * 1.1, "memory grows while they are there"
        assert this.left[1] <= first.left[1] * 1.1, "memory grows when they have left"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", choices=LOADED, default="gevent")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--burst", type=float, default=1, help="minutes of each (%(default)s)")
    parser.add_argument("--chunk-size", type=int, default=131072)
    options = parser.parse_args()
    rounds = round(options.burst * 60 * ROUNDS)
    print(HEAD)
    bursts = []
    with (
        tempfile.TemporaryDirectory() as folder,
        loaded_server(options.server, Path(folder) / "load", options.chunk_size) as (port, worker),
    ):
        until = time.monotonic() + options.minutes * 60
        while time.monotonic() < until:
            bursts.append(burst(port, worker, rounds))
            print(_line_of_burst(bursts[-1]), flush=True)
    check_bursts(bursts)


def _line_of_burst(this: Burst) -> str:
    slow, fast = sorted(this.slow), sorted(this.fast)
    return (
        f"| {slow[0] / 1024:.0f}, {statistics.median(slow) / 1024:.0f}"
        f" | {fast[0]}, {statistics.median(fast):.0f}, {fast[-1]} | {this.whole}"
        f" | {this.held[0]}, {this.held[1] / 2**20:.0f} MiB"
        f" | {this.left[0]}, {this.left[1] / 2**20:.0f} MiB |"
    )


if __name__ == "__main__":
    main()
