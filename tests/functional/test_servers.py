# SPDX-License-Identifier: Apache-2.0
"""On other WSGI servers too, a body that cannot be completed breaks the connection."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.deployment import Deployment
from tests.functional.servers import BIN, free_port, running, serving

BIG = os.urandom(3_000_000)

APPLICATION = "imageapi.wsgi:application"

COMMANDS = {
    "waitress": "waitress-serve --listen=127.0.0.1:{port}",
    "cheroot": "cheroot --bind 127.0.0.1:{port}",
    "uwsgi": "uwsgi --http-socket 127.0.0.1:{port} --master --threads 4 --need-app"
    " --die-on-term --module",
}


@contextmanager
def served(server: str, deployment: Deployment) -> Iterator[int]:
    if server == "gunicorn":
        with serving(deployment.config_file) as port:
            yield port
        return
    port = free_port()
    command, *words = COMMANDS[server].format(port=port).split()
    log = deployment.folder / "server.log"
    environ = {"IMAGEAPI_CONFIG_FILE": str(deployment.config_file)}
    with running([str(BIN / command), *words, APPLICATION], port, log, environ):
        yield port


def exchange(port: int, request: str) -> tuple[bytes, bytes]:
    """The head and the body of an answer, until the server closes the connection."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        sock.sendall(f"{request}\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        try:
            while chunk := sock.recv(1_000_000):
                received += chunk
        except ConnectionResetError:
            pass
    head, _, body = received.partition(b"\r\n\r\n")
    return head, body


@pytest.mark.wire("data-ends-early")
@pytest.mark.wire("data-checksum")
@pytest.mark.parametrize("server", ["gunicorn", *COMMANDS])
def test_server_breaks_off(server: str, deployment: Deployment) -> None:
    deployment.add("good", BIG)
    deployment.add("corrupt", BIG, checksum="0" * 32)
    deployment.add("empty", b"")
    with served(server, deployment) as port:
        head, body = exchange(port, "GET /v1/images/good HTTP/1.1")
        assert head.startswith(b"HTTP/1.1 200")
        assert body == BIG
        head, body = exchange(port, "GET /v1/images/corrupt HTTP/1.1")
        assert head.startswith(b"HTTP/1.1 200")
        assert b"content-length: 3000000" in head.lower()
        assert 0 < len(body) < len(BIG)
        assert BIG.startswith(body)
        head, body = exchange(port, "HEAD /v1/images/good HTTP/1.1")
        assert b"content-length: 3000000" in head.lower()
        assert body == b""
        head, body = exchange(port, "GET /v1/images/empty HTTP/1.1")
        assert b"content-length: 0" in head.lower()
        head, body = exchange(port, "GET /v1/images/good HTTP/1.1\r\nRange: bytes=-5")
        assert (head.split(b" ")[1], body) == (b"206", BIG[-5:])
