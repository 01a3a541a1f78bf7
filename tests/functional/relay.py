# SPDX-License-Identifier: Apache-2.0
"""A TCP relay that closes some connections after a number of bytes of the answer."""

import contextlib
import socket
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple, Self

_PIECE = 16 * 1024


class Break(NamedTuple):
    """Pass this number of bytes of answers on, do something, and close the connection.

    :ivar holds: send nothing more, but leave the connection open until the relay ends.
    """

    after_bytes: int
    do: Callable[[], object] = lambda: None
    holds: bool = False


class Relay:
    """Relays connections to a port of loopback, and breaks the first ones.

    :ivar broken: how many connections were broken off.
    """

    def __init__(self, port: int, breaks: Sequence[Break]) -> None:
        """:param breaks: one for each of the first connections that transfer that many bytes."""
        self._to = port
        self._left = list(breaks)
        self._lock = threading.Lock()
        self.broken = 0
        self._stopping = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        # Wakes accept(), which close() alone does not.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()

    def _accept(self) -> None:
        relays = []
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                break
            relays.append(threading.Thread(target=self._relay, args=(client,)))
            relays[-1].start()
        for relay in relays:
            relay.join()

    def _relay(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._to)) as server:
            asking = threading.Thread(target=_copy_requests, args=(client, server))
            asking.start()
            try:
                with contextlib.suppress(OSError):
                    self._copy_answers(server, client)
            finally:
                for end in (client, server):
                    with contextlib.suppress(OSError):
                        end.shutdown(socket.SHUT_RDWR)
                asking.join()

    def _copy_answers(self, server: socket.socket, client: socket.socket) -> None:
        passed = 0
        server.settimeout(0.2)
        while not self._stopping.is_set():
            try:
                piece = server.recv(_PIECE)
            except TimeoutError:
                continue
            if not piece:
                return
            client.sendall(piece)
            passed += len(piece)
            due = self._due(passed)
            if due is not None:
                due.do()
                if due.holds:
                    self._stopping.wait()
                return

    def _due(self, passed: int) -> Break | None:
        with self._lock:
            if not self._left or passed < self._left[0].after_bytes:
                return None
            self.broken += 1
            return self._left.pop(0)


def _copy_requests(client: socket.socket, server: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := client.recv(_PIECE):
            server.sendall(piece)
        server.shutdown(socket.SHUT_WR)
