# SPDX-License-Identifier: Apache-2.0
"""``imageapi serve`` over a real socket."""

import contextlib
import hashlib
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from tests.deployment import Deployment
from tests.functional.http_client import ask, begin, connect_with_small_buffer, connection
from tests.functional.raw_client import dripping, exchange
from tests.functional.servers import free_port, running, running_imageapi, serving
from tests.functional.waiting import wait_until
from tests.paths import BIN

DATA = os.urandom(3_000_000)


def test_a_client_downloads_an_image(deployment: Deployment) -> None:
    deployment.add("an-image", DATA, name="Ubuntu 10.04", properties={"distro": "Ubuntu"})
    with serving(deployment.config_file) as port, connection(port) as client:
        response = begin(client, "/v1/images/an-image")
        assert response.status == 200
        assert response.read() == DATA
        assert response.getheader("Etag") == hashlib.md5(DATA).hexdigest()
        assert response.getheader("X-Image-Meta-Property-Distro") == "Ubuntu"


@pytest.mark.parametrize("size", [40_000_000, 40_000_000 - 17])
def test_a_fast_client_keeps_its_connection(deployment: Deployment, size: int) -> None:
    """imageapi writes its data without gunicorn, which then does not count the bytes."""
    data = os.urandom(1_000_000) * 40
    deployment.add("large", data[:size])
    deployment.add("small", b"data")
    with serving(deployment.config_file) as port, connection(port) as client:
        for image, wanted in (("large", data[:size]), ("small", b"data")) * 3:
            client.request("GET", f"/v1/images/{image}")
            sock = client.sock
            assert client.getresponse().read() == wanted
            assert client.sock is sock, "the connection was closed"


def test_a_fast_client_is_closed_where_it_asks_for_that(deployment: Deployment) -> None:
    data = os.urandom(1_000_000) * 40
    deployment.add("large", data)
    with serving(deployment.config_file) as port:
        head = "GET /v1/images/large HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
        answer = exchange(port, head.encode())
    assert answer.body == data
    assert answer.connection == "closed"


def test_nothing_follows_wrong_data_that_was_broken_off(deployment: Deployment) -> None:
    """A client that has already sent the next request would take its answer for the rest."""
    deployment.add("large", bytes(40_000_000), checksum="0" * 32)
    deployment.add("small", b"data")
    asked = "".join(f"GET /v1/images/{i} HTTP/1.1\r\nHost: h\r\n\r\n" for i in ("large", "small"))
    with serving(deployment.config_file) as port, socket.socket() as client:
        client.settimeout(60)
        client.connect(("127.0.0.1", port))
        client.sendall(asked.encode())
        received = b"".join(iter(lambda: client.recv(1_000_000), b""))
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert 0 < len(body) < 40_000_000
    assert body.count(0) == len(body)


@pytest.mark.parametrize("name", ["SCRIPT_NAME", "PATH_INFO", "X_Image", "Remote-User"])
def test_a_client_does_not_choose_where_it_is_mounted(deployment: Deployment, name: str) -> None:
    """gunicorn would accept these headers from local addresses, such as a proxy on this machine."""
    deployment.add("i", b"data")
    with serving(deployment.config_file) as port:
        head = f"GET /v1/images/i HTTP/1.1\r\nHost: h\r\n{name}: /v2\r\nConnection: close\r\n\r\n"
        answer = exchange(port, head.encode())
    assert (answer.status, answer.body) == (200, b"data")
    assert answer.headers["X-Image-Meta-Uri"] == "http://h/v1/images/i"


@contextlib.contextmanager
def impatient(deployment: Deployment, clients: int) -> Iterator[tuple[int, list[socket.socket]]]:
    """A server that waits a second for a head, and connections to it."""
    deployment.add("i", b"data")
    deployment.configure(more="[imageapi_serve]\nhead_timeout = 1")
    with (
        running_imageapi(deployment.config_file, "--threads", "1") as server,
        contextlib.ExitStack() as open_sockets,
    ):
        yield (
            server.port,
            [
                open_sockets.enter_context(socket.create_connection(("127.0.0.1", server.port), 30))
                for _ in range(clients)
            ],
        )
    assert "Traceback" not in (deployment.folder / "server.log").read_text()


@pytest.mark.parametrize("drips", [False, True])
def test_half_a_request_is_closed(deployment: Deployment, drips: bool) -> None:
    """For example of a scanner that sends TLS to each port and waits."""
    with impatient(deployment, clients=4) as (port, halves):
        for half in halves:
            half.sendall(b"\x16\x03\x01\x02\x00" if not drips else b"GET /")
        with dripping(halves if drips else [], 0.1):
            assert ask(port, "/v1/images/i").body == b"data"
            assert [half.recv(1) for half in halves] == [b""] * 4


def test_silent_clients_are_closed(deployment: Deployment) -> None:
    with impatient(deployment, clients=20) as (port, silent):
        assert ask(port, "/v1/images/i").body == b"data"
        assert [sock.recv(1) for sock in silent] == [b""] * 20


def test_a_silent_client_keeps_no_worker_from_leaving(deployment: Deployment) -> None:
    deployment.add("i", b"data")
    deployment.configure(more="[imageapi_serve]\nhead_timeout = 3600\nstop_timeout = 3600")
    with (
        running_imageapi(deployment.config_file) as server,
        socket.create_connection(("127.0.0.1", server.port), 30) as silent,
        server.connection() as client,
    ):
        assert begin(client, "/v1/images/i").read() == b"data"
        server.process.terminate()
        assert silent.recv(1) == b""
        assert server.process.wait(30) == 0


def test_more_clients_than_open_files(deployment: Deployment) -> None:
    """The server raises the soft limit, if the hard limit allows it."""
    deployment.add("i", b"data")
    with limited(deployment, "ulimit -Sn 100") as port, contextlib.ExitStack() as open_sockets:
        for _ in range(200):
            open_sockets.enter_context(socket.create_connection(("127.0.0.1", port), 30))
        assert ask(port, "/v1/images/i").body == b"data"


@contextlib.contextmanager
def limited(deployment: Deployment, limit: str) -> Iterator[int]:
    """A server with a limit of open files, which it must not exceed; yields its port."""
    port = free_port()
    serve = f"{BIN}/imageapi --config-file {deployment.config_file} serve --port {port}"
    log = deployment.folder / "server.log"
    with running(["sh", "-c", f"{limit}; exec {serve}"], port, log):
        yield port
    for word in ("Too many open files", "out of system resource", "Traceback", "Booting worker"):
        assert log.read_text().count(word) == (word == "Booting worker")


def test_silent_clients_make_room_where_the_limit_is_low(deployment: Deployment) -> None:
    """The limit cannot be raised, so the connections that wait longest are closed."""
    deployment.add("i", b"data")
    with limited(deployment, "ulimit -n 128") as port, contextlib.ExitStack() as open_sockets:
        silent = [
            open_sockets.enter_context(socket.create_connection(("127.0.0.1", port), 30))
            for _ in range(100)
        ]
        assert ask(port, "/v1/images/i").body == b"data"
        assert silent[0].recv(1) == b""
    assert "may open only 128 files" in (deployment.folder / "server.log").read_text()


def test_too_many_downloads_are_answered_with_503(deployment: Deployment) -> None:
    deployment.add("i", b"data")
    deployment.add("big", DATA * 10)
    with limited(deployment, "ulimit -n 128") as port, contextlib.ExitStack() as open_sockets:
        downloads = []
        for _ in range(40):
            client = open_sockets.enter_context(connection(port))
            connect_with_small_buffer(client)
            try:
                downloads.append(begin(client, "/v1/images/big"))
            except ConnectionError:  # the answer can be lost, since the request was not read
                break
            if downloads[-1].status == 503:
                break
        *begun, refused = downloads
        assert {response.status for response in begun} == {200}
        assert len(begun) >= 10
        assert refused.status == 503
        assert refused.getheader("Retry-After") == "30"
        # Running downloads go on, and one that ends makes room.
        assert begun[0].read() == DATA * 10
        assert ask(port, "/v1/images/i").body == b"data"
        assert begun[1].read() == DATA * 10


def test_too_few_open_files(deployment: Deployment) -> None:
    with limited(deployment, "ulimit -n 90") as port:
        assert ask(port, "/v1/images/absent").status == 404
    assert "holds 3 connections instead of" in (deployment.folder / "server.log").read_text()


def test_answers_that_nobody_reads_are_not_piled_up(deployment: Deployment) -> None:
    """A server reads requests no faster than the client reads answers, also without bodies."""
    deployment.add("i", b"data", properties={"long": "x" * 4000})
    # The answers would be more than 200 MiB.
    heads = b"HEAD /v1/images/i HTTP/1.1\r\nHost: h\r\n\r\n" * 50_000
    with running_imageapi(deployment.config_file) as server:
        assert ask(server.port, "/v1/images/i").body == b"data"
        (worker,) = server.children()
        before = worker.memory_info().rss
        with socket.create_connection(("127.0.0.1", server.port), 5) as sock:
            with contextlib.suppress(TimeoutError):
                sock.sendall(heads)
            _wait_until_idle(worker)
            assert worker.memory_info().rss < before + 50 * 2**20
            assert ask(server.port, "/v1/images/i").body == b"data"


def _wait_until_idle(process: psutil.Process) -> None:
    used, before = process.cpu_times().user, -1.0
    while used - before > 0.1:
        time.sleep(1)
        before, used = used, process.cpu_times().user


# The first connection fills the pipe by which threads wake the event loop, as a
# thousand downloads that end at once do, and then the worker is told to end.
DEAF = """
import os, signal, sys
from imageapi.commands import main
from imageapi.commands import worker
admit = worker.Worker.admit

def fill(self, connection):
    try:
        while True:
            self.loop._csock.send(bytes(1))
    except BlockingIOError:
        os.kill(os.getpid(), signal.SIGTERM)
    admit(self, connection)

worker.Worker.admit = fill
sys.exit(main.main(sys.argv[1:]))
"""


def test_worker_hears_that_it_is_to_end_while_its_loop_is_woken_all_the_time(
    deployment: Deployment,
) -> None:
    deployment.add("i", b"data")
    log = deployment.folder / "server.log"
    program = [sys.executable, "-c", DEAF]
    with running_imageapi(deployment.config_file, program=program) as server:
        # `running` has connected once, and so caused SIGTERM for one worker.
        wait_until(lambda: "Worker exiting" in log.read_text(), "the worker goes on")
        assert server.process.poll() is None


def test_made_up_caller_is_logged_and_survives_a_reload(deployment: Deployment) -> None:
    deployment.add("private", b"data", owner="p1", is_public=False)
    log = deployment.folder / "server.log"
    with running_imageapi(deployment.config_file, "--as-project", "p1") as server:
        assert log.read_text().count("FOR TRIALS ONLY") == 1
        assert ask(server.port, "/v1/images/private").body == b"data"
        deployment.configure(core="policy = visible")
        os.kill(server.process.pid, signal.SIGHUP)
        wait_until(lambda: log.read_text().count("FOR TRIALS ONLY") == 2, "no reload")
        answer = ask(server.port, "/v1/images/private", **{"X-Project-Id": "p2"})
        assert answer.body == b"data"
