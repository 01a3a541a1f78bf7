# SPDX-License-Identifier: Apache-2.0
"""Many clients of ``imageapi serve`` at once, and how long another client waits meanwhile.

``python -m tests.functional.crowds`` prints the figures of docs/production.md.
"""

import argparse
import contextlib
import os
import selectors
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.deployment import Deployment
from tests.functional.http_client import ask
from tests.functional.load import descriptors
from tests.functional.raw_client import dripping
from tests.functional.servers import Running, running_imageapi

SLOW = 1000

# A slow client reads RATE bytes a second, MOUTHFUL bytes at a time.
RATE = 1_000_000
MOUTHFUL = 65_536

PATIENCE = 120

_GET = b"GET /v1/images/large HTTP/1.1\r\nHost: x\r\n\r\n"
_HEAD = b"HEAD /v1/images/small HTTP/1.1\r\nHost: x\r\n"


@contextmanager
def crowded_server(folder: Path) -> Iterator[Running]:
    """``imageapi serve`` with one worker, a small image, and one of 100 MB."""
    deployment = Deployment(folder)
    deployment.add("small", b"data")
    deployment.add("large", os.urandom(1_000_000) * 100)
    log = folder / "server.log"
    with descriptors(4 * SLOW), running_imageapi(deployment.config_file) as server:
        time_of(server.port, "HEAD")
        (worker,) = server.children()
        yield server
        assert worker.is_running(), "the worker has died"
    assert log.read_text().count("Booting worker") == 1
    assert "Traceback" not in log.read_text()


def time_of(port: int, method: str) -> float:
    """How many seconds the small image's answer takes, on a connection of its own."""
    began = time.monotonic()
    answer = ask(port, "/v1/images/small", method)
    assert answer.status == 200
    assert answer.body == (b"data" if method == "GET" else b"")
    return time.monotonic() - began


class SlowDownloads(NamedTuple):
    """The results of many slow downloads at once.

    :ivar began: seconds until all downloads had their first bytes.
    :ivar heads: seconds that each HEAD of another image took meanwhile.
    :ivar memory: the largest resident memory of the worker, in bytes.
    """

    began: float
    heads: list[float]
    memory: int


def slow_downloads(server: Running, seconds: float) -> SlowDownloads:
    """Begin SLOW downloads, and continue them for some seconds."""
    (worker,) = server.children()
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        start = time.monotonic()
        clients = []
        for _ in range(SLOW):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MOUTHFUL)
            client.settimeout(PATIENCE)
            client.connect(("127.0.0.1", server.port))
            client.sendall(_GET)
            client.setblocking(False)
            selector.register(client, selectors.EVENT_READ, client)
            clients.append(client)
        while waiting := len(selector.get_map()):
            events = selector.select(PATIENCE)
            assert events, f"{waiting} downloads do not begin"
            for key, _ in events:
                assert key.data.recv(MOUTHFUL).startswith(b"HTTP/1.1 200 ")
                selector.unregister(key.data)
        began = time.monotonic() - start
        stop = threading.Event()
        reading = threading.Thread(target=_read_slowly, args=(clients, stop))
        reading.start()
        try:
            heads, memory = [], 0
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                heads.append(time_of(server.port, "HEAD"))
                memory = max(memory, worker.memory_info().rss)
        finally:
            stop.set()
            reading.join()
    return SlowDownloads(began, heads, memory)


def _read_slowly(clients: list[socket.socket], stop: threading.Event) -> None:
    while not stop.is_set():
        began = time.monotonic()
        for client in clients:
            with contextlib.suppress(BlockingIOError):
                assert client.recv(MOUTHFUL), "a download was broken off"
        stop.wait(max(0.0, began + MOUTHFUL / RATE - time.monotonic()))


@contextmanager
def attackers(port: int) -> Iterator[None]:
    """Clients of several kinds that stay connected, and send and read as little as possible."""
    with ExitStack() as stack:

        def connect(sends: bytes = b"", *, window: int | None = None) -> socket.socket:
            sock = stack.enter_context(socket.socket())
            if window is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
            sock.settimeout(PATIENCE)
            sock.connect(("127.0.0.1", port))
            sock.sendall(sends)
            return sock

        for _ in range(25):  # they linger
            connect(_HEAD + b"Connection: close\r\n\r\n")
        for _ in range(60):  # they keep their connections
            connect((_HEAD + b"\r\n") * 2)
        body = b"Content-Length: 100000\r\n\r\n"
        half_sent = [connect(_HEAD + body) for _ in range(30)]
        for _ in range(200):
            connect(_HEAD[:30])
        for _ in range(300):
            connect()
        for _ in range(50):  # they take nothing
            connect(_GET, window=4096)
        with dripping(half_sent, 4):
            yield


def beside_attackers(server: Running, seconds: float) -> list[float]:
    """The seconds that each GET of a small image takes beside attackers."""
    times = []
    with attackers(server.port):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            times.append(time_of(server.port, "GET"))
            time.sleep(0.01)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30, help="of each (%(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        with crowded_server(Path(folder) / "downloads") as server:
            came = slow_downloads(server, options.seconds)
        print(f"{SLOW} slow downloads: all began within {came.began:.1f} s;")
        print(f"  HEAD of another image beside them: {_line_of_times(came.heads)};")
        print(f"  the worker's memory: {came.memory / 2**20:.0f} MiB at most")
        with crowded_server(Path(folder) / "attackers") as server:
            times = beside_attackers(server, options.seconds)
        print(f"GET of 4 bytes beside attackers: {_line_of_times(times)}")


def _line_of_times(times: list[float]) -> str:
    median, most = statistics.median(times), max(times)
    return f"{1000 * median:.0f} ms at the median, {1000 * most:.0f} at most, of {len(times)}"


if __name__ == "__main__":
    main()
