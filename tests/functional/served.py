# SPDX-License-Identifier: Apache-2.0
"""An example that runs: what clients ask of it, and what it holds open."""

import http.client
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import psutil

from tests.functional import basic_auth
from tests.functional.servers import connection


class Answer(NamedTuple):
    """What a client got; the names of headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Served:
    """An example that runs.

    :ivar patience: for how many seconds to wait for what comes soon.
    """

    port: int
    process: psutil.Process
    images: Path
    patience: float

    def ask(self, path: str, method: str = "GET", user: str = "", **headers: str) -> Answer:
        with connection(self.port) as client:
            response = self._begin(client, path, method, user, headers)
            return Answer(response.status, _by_name(response), response.read())

    @contextmanager
    def asking(self, path: str) -> Iterator[http.client.HTTPResponse]:
        """An answer whose body is left to read, over a connection that takes little at once."""
        with connection(self.port) as client:
            client.sock = socket.socket()
            client.sock.settimeout(30)
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            client.sock.connect(("127.0.0.1", self.port))
            with self._begin(client, path, "GET", "", {}) as response:
                yield response

    def leave(self, path: str, method: str) -> None:
        """Ask, and leave without looking at the answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as sock:
            sock.sendall(self._head_of(path, method))

    def raw(self, path: str, method: str) -> bytes:
        """All that comes over the connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as sock:
            sock.sendall(self._head_of(path, method))
            received = b""
            while chunk := sock.recv(1 << 20):
                received += chunk
            return received

    def _head_of(self, path: str, method: str) -> bytes:
        host = f"127.0.0.1:{self.port}"
        return f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()

    def _begin(
        self,
        client: http.client.HTTPConnection,
        path: str,
        method: str,
        user: str,
        headers: Mapping[str, str],
    ) -> http.client.HTTPResponse:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if user:
            sent["Authorization"] = basic_auth.header_of(user)
        # As browsers and curl --compressed do.
        client.request(method, path, headers={"Accept-Encoding": "gzip, deflate", **sent})
        return client.getresponse()

    def open_images(self) -> list[str]:
        """The images that the server's processes hold open."""
        processes = [self.process, *self.process.children(recursive=True)]
        files = [file.path for process in processes for file in process.open_files()]
        return [path for path in files if path.startswith(f"{self.images}/")]

    def holds_images(self, yes: bool) -> bool:
        """Whether it holds images open, or does not, now or soon."""
        deadline = time.monotonic() + self.patience
        while bool(self.open_images()) is not yes and time.monotonic() < deadline:
            time.sleep(0.02)
        return bool(self.open_images()) is yes


def _by_name(response: http.client.HTTPResponse) -> Mapping[str, str]:
    pairs = response.getheaders()
    names = [name.lower() for name, _ in pairs]
    assert len(names) == len(set(names)), f"a header came twice: {names}"
    return {name.lower(): value for name, value in pairs}
