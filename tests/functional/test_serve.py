# SPDX-License-Identifier: Apache-2.0
"""``imageapi serve`` over a real socket."""

import contextlib
import hashlib
import os
import socket
import sys
import threading
from collections.abc import Iterator

import pytest

from tests.deployment import Deployment
from tests.functional.raw_client import exchange
from tests.functional.servers import BIN, connection, free_port, running, serving

DATA = os.urandom(3_000_000)


def test_a_client_downloads_an_image(deployment: Deployment) -> None:
    deployment.add("an-image", DATA, name="Ubuntu 10.04", properties={"distro": "Ubuntu"})
    with serving(deployment.config_file) as port, connection(port) as client:
        client.request("GET", "/v1/images/an-image")
        response = client.getresponse()
        assert response.status == 200
        assert response.read() == DATA
        assert response.getheader("Etag") == hashlib.md5(DATA).hexdigest()
        assert response.getheader("X-Image-Meta-Property-Distro") == "Ubuntu"


@pytest.mark.parametrize("name", ["SCRIPT_NAME", "PATH_INFO", "X_Image", "Remote-User"])
def test_a_client_does_not_choose_where_it_is_mounted(deployment: Deployment, name: str) -> None:
    """gunicorn lets its neighbours do so, which is what a proxy on this machine looks like."""
    deployment.add("i", b"data")
    with serving(deployment.config_file) as port:
        head = f"GET /v1/images/i HTTP/1.1\r\nHost: h\r\n{name}: /v2\r\nConnection: close\r\n\r\n"
        answer = exchange(port, head.encode())
    assert (answer.status, answer.body) == (200, b"data")
    assert answer.headers["X-Image-Meta-Uri"] == "http://h/v1/images/i"


IMPATIENT = """
import sys
from imageapi import cli, serve
serve.HEAD_SECONDS = 0.5
sys.exit(cli.main(sys.argv[1:]))
"""


@contextlib.contextmanager
def impatient(
    deployment: Deployment, threads: int, clients: int
) -> Iterator[tuple[int, list[socket.socket]]]:
    """A server with an image that waits half a second for heads, and connections to it."""
    deployment.add("i", b"data")
    port = free_port()
    command = [sys.executable, "-c", IMPATIENT, "--config-file", str(deployment.config_file)]
    command += ["serve", "--threads", str(threads), "--port", str(port)]
    log = deployment.folder / "server.log"
    with running(command, port, log), contextlib.ExitStack() as open_sockets:
        yield (
            port,
            [
                open_sockets.enter_context(socket.create_connection(("127.0.0.1", port), 30))
                for _ in range(clients)
            ],
        )
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("drips", [False, True])
def test_half_a_request_holds_no_thread(deployment: Deployment, drips: bool) -> None:
    """Such as that of a scanner, which speaks TLS to every port and waits."""
    with impatient(deployment, threads=2, clients=4) as (port, halves):
        for half in halves:
            half.sendall(b"\x16\x03\x01\x02\x00" if not drips else b"GET /")
        stop = threading.Event()
        dripping = threading.Thread(target=_drip, args=(halves if drips else [], stop))
        dripping.start()
        try:
            with connection(port) as client:
                client.request("GET", "/v1/images/i")
                assert client.getresponse().read() == b"data"
            assert [half.recv(1) for half in halves] == [b""] * 4
        finally:
            stop.set()
            dripping.join()


def test_silent_clients_hold_no_thread(deployment: Deployment) -> None:
    """Of which each would hold one for gunicorn's five seconds, and the next ones after it."""
    with impatient(deployment, threads=1, clients=20) as (port, silent):
        with connection(port) as client:
            client.request("GET", "/v1/images/i")
            assert client.getresponse().read() == b"data"
        assert [sock.recv(1) for sock in silent] == [b""] * 20


PATIENT = """
import sys
from imageapi import cli, serve
serve.HEAD_SECONDS = serve.STOP_SECONDS = 3600
sys.exit(cli.main(sys.argv[1:]))
"""


def test_a_silent_client_keeps_no_worker_from_leaving(deployment: Deployment) -> None:
    deployment.add("i", b"data")
    port = free_port()
    command = [sys.executable, "-c", PATIENT, "--config-file", str(deployment.config_file)]
    command += ["serve", "--port", str(port)]
    with (
        running(command, port, deployment.folder / "server.log") as process,
        socket.create_connection(("127.0.0.1", port), 30) as silent,
        connection(port) as client,
    ):
        client.request("GET", "/v1/images/i")
        assert client.getresponse().read() == b"data"
        process.terminate()
        assert silent.recv(1) == b""
        assert process.wait(30) == 0


def test_more_clients_than_open_files(deployment: Deployment) -> None:
    """Of which gunicorn's worker would die, and break off all that it sends."""
    deployment.add("i", b"data")
    port = free_port()
    serve = f"{BIN}/imageapi --config-file {deployment.config_file} serve --port {port}"
    command = ["sh", "-c", f"ulimit -Sn 100; exec {serve}"]
    log = deployment.folder / "server.log"
    with running(command, port, log), contextlib.ExitStack() as open_sockets:
        for _ in range(200):
            open_sockets.enter_context(socket.create_connection(("127.0.0.1", port), 30))
        with connection(port) as client:
            client.request("GET", "/v1/images/i")
            assert client.getresponse().read() == b"data"
    assert "Too many open files" not in log.read_text()


def test_too_few_open_files(deployment: Deployment) -> None:
    port = free_port()
    serve = f"{BIN}/imageapi --config-file {deployment.config_file} serve --port {port}"
    log = deployment.folder / "server.log"
    with (
        running(["sh", "-c", f"ulimit -n 100; exec {serve}"], port, log),
        connection(port) as client,
    ):
        client.request("GET", "/v1/images/absent")
        assert client.getresponse().status == 404
    assert "may open 100 files" in log.read_text()


def _drip(halves: list[socket.socket], stop: threading.Event) -> None:
    while halves and not stop.wait(0.1):
        for half in halves:
            with contextlib.suppress(OSError):
                half.sendall(b"x")
