# SPDX-License-Identifier: Apache-2.0
"""A server over raw sockets, for answers that no real server gives."""

import socket
import threading
import time
from collections.abc import Callable
from typing import Self


class Request:
    """A request that was received."""

    def __init__(self, head: bytes) -> None:
        lines = head.decode("latin-1").split("\r\n")
        self.method, self.target, _ = lines[0].split(" ", 2)
        pairs = [line.split(": ", 1) for line in lines[1:] if line]
        self.headers = {name.lower(): value for name, value in pairs}

    @property
    def start(self) -> int:
        """The first byte of the requested range."""
        return int(self.headers.get("range", "bytes=0-")[6:].split("-")[0])


#: Sends an answer or a part of one. If it returns True, the connection stays open.
Responder = Callable[[Request, socket.socket], bool | None]


class RawServer:
    """A server whose answers a test sends.

    :ivar requests: all requests.
    :ivar accepted: how many connections were accepted.
    """

    def __init__(self, answer: Responder) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self.accepted = 0
        self._open = 0
        self._changed = threading.Condition()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._stopping = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        # Ends accept(), which close() alone does not.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def waits(self, seconds: float) -> None:
        """Wait for some seconds inside an answer, or until the server is stopped."""
        self._stopping.wait(seconds)

    def has_connections(self, count: int, within: float = 60) -> bool:
        """Whether this number of connections is open, or will be soon."""
        deadline = time.monotonic() + within
        with self._changed:
            while self._open != count and time.monotonic() < deadline:
                self._changed.wait(0.05)
            return self._open == count

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            self._count(1)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                while (head := _next_head(connection)) is not None:
                    request = Request(head)
                    self.requests.append(request)
                    if not self.answer(request, connection):
                        break
            except OSError:
                pass  # the client has left; the test decides whether it may
        self._count(-1)

    def _count(self, change: int) -> None:
        with self._changed:
            self._open += change
            self._changed.notify_all()


def _next_head(connection: socket.socket) -> bytes | None:
    """The next head; bytes after it, such as a body, are dropped."""
    head = b""
    while b"\r\n\r\n" not in head:
        received = connection.recv(65536)
        if not received:
            return None
        head += received
    return head.partition(b"\r\n\r\n")[0]


def closed_by_client(connection: socket.socket, within: float) -> bool:
    """Whether the other side closes, or resets, the connection in time."""
    connection.settimeout(within)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True
