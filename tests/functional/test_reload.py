# SPDX-License-Identifier: Apache-2.0
"""A reload under load uses the new configuration, and breaks no download off."""

import contextlib
import http.client
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import NamedTuple, Self

import pytest

from tests.deployment import Deployment
from tests.functional.http_client import begin, connect_with_small_buffer
from tests.functional.servers import Running
from tests.functional.waiting import becomes_true
from tests.functional.wsgi_servers import by_command, changed_gunicorn, uwsgi

DATA = os.urandom(1_000_000) * 50

# ``imageapi serve`` that waits only one second for downloads at SIGTERM.
SERVE = """\
import dataclasses
from imageapi.commands import main
from imageapi.commands import server
settings_for = server.settings_for
server.settings_for = lambda given: settings_for(
    dataclasses.replace(given, stop_timeout=1)
) | {"timeout": 2}
raise SystemExit(main.main())
"""


# ``imageapi serve`` whose workers install their signal handlers after a second.
SLOW_START = """\
import time
from imageapi.commands import main
from imageapi.commands import server
settings_for = server.settings_for
slow = {"post_fork": lambda master, worker: time.sleep(1)}
server.settings_for = lambda given: settings_for(given) | slow
raise SystemExit(main.main())
"""


class Kind(NamedTuple):
    """A server, how it is reloaded, and whether all answers change at once."""

    start: Callable[[Deployment], AbstractContextManager[Running]]
    reload: Callable[[Running, Deployment], None]
    at_once: bool


def by_signal(server: Running, deployment: Deployment) -> None:
    os.kill(server.process.pid, signal.SIGHUP)


def by_file(server: Running, deployment: Deployment) -> None:
    # uWSGI compares whole seconds, and would miss a change in the second of its start.
    later = time.time() + 2
    os.utime(deployment.folder / "reload", (later, later))


def serve_with_short_stop(count: str) -> Callable[[Deployment], AbstractContextManager[Running]]:
    command = [sys.executable, "-c", SERVE, "--config-file", "CONFIG", "serve"]
    return by_command(*command, "--port", "PORT", "--workers", count)


KINDS = {
    "serve": Kind(serve_with_short_stop("2"), by_signal, True),
    "gunicorn": Kind(
        changed_gunicorn(
            ("timeout = 30", "timeout = 2"), ("graceful_timeout = 2", "graceful_timeout = 1")
        ),
        by_signal,
        True,
    ),
    "uwsgi": Kind(uwsgi(("threads = 16", "threads = 4")), by_file, False),
}


class Load:
    """A client that sends requests all the time. It keeps the URIs and errors that it got."""

    def __init__(self, server: Running) -> None:
        self._server = server
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self.uris: list[str] = []
        self.errors: list[Exception] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._stopping.wait(0.01):
            try:
                self.uris.append(uri_of(self._server))
            except (OSError, http.client.HTTPException) as error:
                self.errors.append(error)

    def is_told(self, text: str, times: int = 20) -> bool:
        """Whether its last answers contain a text, or will soon."""
        return becomes_true(lambda: sum(text in uri for uri in self.uris[-times:]) == times)


def uri_of(server: Running) -> str:
    with server.connection() as connection:
        response = begin(connection, "/v1/images/small")
        assert response.read() == b"data"
        return response.getheader("X-Image-Meta-Uri") or ""


@contextlib.contextmanager
def begun_download(server: Running) -> Iterator[Callable[[], bytes]]:
    """A download in its middle; yields a function that reads the rest and returns all bytes."""
    with server.connection() as connection:
        connect_with_small_buffer(connection)
        response = begin(connection, "/v1/images/big")
        start = response.read(1_000_000)
        yield lambda: start + response.read()


def worker_ids(server: Running) -> list[int]:
    return [child.pid for child in server.children()]


@pytest.fixture
def loaded(deployment: Deployment) -> Deployment:
    deployment.add("big", DATA)
    deployment.add("small", b"data")
    deployment.configure(core="public_endpoint = http://old.example")
    return deployment


@pytest.mark.parametrize("name", KINDS)
def test_reload_under_load(name: str, loaded: Deployment) -> None:
    kind = KINDS[name]
    with kind.start(loaded) as server, Load(server) as load, ExitStack() as stack:
        downloads = [stack.enter_context(begun_download(server)) for _ in range(7)]
        assert load.is_told("old.example")
        old = worker_ids(server)
        loaded.configure(core="public_endpoint = http://new.example")
        kind.reload(server, loaded)
        if kind.at_once:
            assert load.is_told("new.example")
        time.sleep(3.5)  # longer than all timeouts that the test shortened
        assert [finish() == DATA for finish in downloads] == [True] * 7
        assert load.is_told("new.example")
        assert becomes_true(lambda: not set(old) & set(worker_ids(server)))
        assert load.errors == []
        if not kind.at_once:
            # uWSGI loses a SIGTERM that comes while it starts a worker.
            log = loaded.folder / "server.log"
            assert becomes_true(lambda: "chain reloading complete" in log.read_text())


def test_worker_that_dies_beside_a_leaving_one_is_replaced(loaded: Deployment) -> None:
    with serve_with_short_stop("1")(loaded) as server, begun_download(server) as finish:
        (leaving,) = worker_ids(server)
        by_signal(server, loaded)
        fresh = new_worker(server, {leaving})
        os.kill(fresh, signal.SIGKILL)
        new_worker(server, {leaving, fresh})
        assert uri_of(server).startswith("http://old.example")
        assert finish() == DATA


def new_worker(server: Running, known: set[int]) -> int:
    assert becomes_true(lambda: set(worker_ids(server)) - known)
    (worker,) = set(worker_ids(server)) - known
    return worker


def test_serve_that_is_stopped_waits_for_no_leaving_worker(loaded: Deployment) -> None:
    with serve_with_short_stop("1")(loaded) as server, begun_download(server) as finish:
        (leaving,) = worker_ids(server)
        by_signal(server, loaded)
        new_worker(server, {leaving})
        os.kill(server.process.pid, signal.SIGTERM)
        server.process.wait(20)
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            finish()


def test_serve_that_is_stopped_while_a_worker_starts(deployment: Deployment) -> None:
    """A worker without its own signal handlers yet loses no signal."""
    command = [sys.executable, "-c", SLOW_START, "--config-file", "CONFIG", "serve"]
    with by_command(*command, "--port", "PORT")(deployment) as server:
        assert becomes_true(lambda: len(worker_ids(server)) == 1)
        os.kill(server.process.pid, signal.SIGTERM)
        # Otherwise it would wait for STOP_SECONDS, and kill the worker.
        server.process.wait(20)
