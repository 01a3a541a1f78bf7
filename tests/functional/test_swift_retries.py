# SPDX-License-Identifier: Apache-2.0
"""Which requests to Swift are retried, when, and how often, with answers of a raw server."""

import contextlib
import itertools
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from imageapi.backends.http_client import connections, retries
from imageapi.backends.http_client.status import close
from imageapi.backends.swift import session
from imageapi.backends.swift.registry import SwiftRegistry
from imageapi.backends.swift.store import SwiftStore
from imageapi.caller import ANONYMOUS
from imageapi.errors import BackendError, BackendUnavailable, BadReply, DataChanged, ImageNotFound
from imageapi.testing.suite import build
from tests.functional.clock import clock_of
from tests.functional.raw_server import RawServer, Request, Responder

DATA = bytes(range(256)) * 40
ETAG = "d5816f35916d1d9482fb0f1ec201101d"
# Seconds, for requests that must not time out.
TIMEOUT = 60


class ScriptedSwift:
    """Logs users in like tempauth, and sends each object request the next of the answers."""

    server: RawServer

    def __init__(self, *answers: Responder | None) -> None:
        self.answers = list(answers)
        self.logins = 0
        self.asked: list[Request] = []

    def __call__(self, request: Request, connection: socket.socket) -> bool:
        if request.target == "/auth/v1.0":
            self.logins += 1
            host = request.headers["host"]
            connection.sendall(
                f"HTTP/1.1 200 OK\r\nX-Storage-Url: http://{host}/v1/AUTH_acme\r\n"
                f"X-Auth-Token: token-{self.logins}\r\nContent-Length: 0\r\n\r\n".encode()
            )
            return True
        self.asked.append(request)
        answer = self.answers.pop(0) if self.answers else None
        return (answer or as_swift_does)(request, connection) is True

    @property
    def tokens(self) -> list[str]:
        return [request.headers.get("x-auth-token", "") for request in self.asked]


def as_swift_does(request: Request, connection: socket.socket) -> bool:
    """The answer of a real Swift for a plain object."""
    start = request.start
    status = b"206 Partial Content" if "range" in request.headers else b"200 OK"
    lines = [
        f"Etag: {ETAG}",
        "X-Timestamp: 1795500635.24974",
        f"Content-Length: {len(DATA) - start}",
    ]
    if "range" in request.headers:
        lines.append(f"Content-Range: bytes {start}-{len(DATA) - 1}/{len(DATA)}")
    head = "\r\n".join([*lines, "", ""]).encode()
    connection.sendall(b"HTTP/1.1 " + status + b"\r\n" + head + DATA[start:])
    return True


def status(line: str, *headers: str) -> Responder:
    def answer(_request: Request, connection: socket.socket) -> bool:
        lines = [f"HTTP/1.1 {line}", "Content-Length: 0", *headers, "", ""]
        connection.sendall("\r\n".join(lines).encode())
        return True

    return answer


def hang_up(_request: Request, _connection: socket.socket) -> bool:
    return False


BUSY = status("503 Service Unavailable")
FULL = status("507 Insufficient Storage")
DENIED = status("401 Unauthorized")


@pytest.fixture
def make_store() -> Iterator[Callable[..., tuple[SwiftStore, ScriptedSwift]]]:
    with ExitStack() as stack:

        def made(*answers: Responder | None, **options: Any) -> tuple[SwiftStore, ScriptedSwift]:
            fake = ScriptedSwift(*answers)
            server = fake.server = stack.enter_context(RawServer(fake))
            given = {
                "container": "images",
                "auth_type": "v1password",
                "auth_url": f"{server.url}/auth/v1.0",
                "username": "acme:reader",
                "password": "s3cret",
                **options,
            }
            store = build(SwiftStore, **given)
            stack.callback(store.close)
            return store, fake

        yield made


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of the pause before each retry."""
    waited: list[float] = []
    monkeypatch.setattr(retries, "time", SimpleNamespace(sleep=waited.append))
    return waited


def read_image(store: SwiftStore, **how: Any) -> bytes:
    blob = store.open(store.locate("i"), caller=ANONYMOUS, **how)
    data = b"".join(blob)
    blob.close()
    return data


@pytest.mark.parametrize("answers", [[BUSY], [FULL], [BUSY, FULL], [hang_up, hang_up, BUSY]])
def test_asks_again(make_store: Any, answers: list[Responder]) -> None:
    store, fake = make_store(*answers)
    assert read_image(store) == DATA
    # A kept connection that the server has closed is replaced at once.
    assert len(fake.asked) == len(answers) + 1


def test_by_default_it_waits_twice_as_long_each_time(make_store: Any, pauses: list[float]) -> None:
    store, _ = make_store(BUSY, FULL)
    assert read_image(store) == DATA
    assert pauses == [0.5, 1.0]


def test_retries_are_bounded(make_store: Any) -> None:
    store, fake = make_store(*[BUSY] * 20)
    with pytest.raises(BackendUnavailable, match="answers with status 503"):
        read_image(store)
    assert len(fake.asked) == 4


def test_connections_are_retried_a_bounded_number_of_times(make_store: Any) -> None:
    store, fake = make_store(*[hang_up] * 20)
    with pytest.raises(BackendUnavailable, match="closed the connection early"):
        read_image(store)
    # Each may use a kept connection, which is replaced once.
    assert 4 <= len(fake.asked) <= 8


@pytest.mark.parametrize("retries", [0, 1])
def test_options(make_store: Any, retries: int, pauses: list[float]) -> None:
    store, _ = make_store(BUSY, BUSY, status_code_retries=retries, status_code_retry_delay=0.2)
    with pytest.raises(BackendUnavailable):
        read_image(store)
    assert pauses == [0.2] * retries


def test_codes_are_an_option(make_store: Any) -> None:
    limited = status("498 Rate Limited")
    store, _ = make_store(limited, retriable_status_codes=[498])
    assert read_image(store) == DATA
    store, _ = make_store(BUSY, retriable_status_codes=[498])
    with pytest.raises(BackendUnavailable):
        read_image(store)


def test_retry_after_is_waited_for(make_store: Any, pauses: list[float]) -> None:
    store, _ = make_store(status("503 Service Unavailable", "Retry-After: 7"))
    assert read_image(store) == DATA
    assert pauses == [7]


def test_a_long_retry_after_is_handed_on_at_once(make_store: Any) -> None:
    store, fake = make_store(status("503 Service Unavailable", "Retry-After: 120"))
    with pytest.raises(BackendUnavailable) as caught:
        read_image(store)
    assert caught.value.retry_after == 120
    assert len(fake.asked) == 1


def test_a_token_is_renewed_once(make_store: Any) -> None:
    store, fake = make_store(DENIED)
    assert read_image(store) == DATA
    assert fake.tokens == ["token-1", "token-2"]
    store, fake = make_store(DENIED, DENIED, DENIED)
    with pytest.raises(BadReply, match="status 401"):
        read_image(store)
    assert fake.tokens == ["token-1", "token-2"]
    # And again at the next request, which may succeed.
    assert read_image(store) == DATA
    assert fake.tokens[2:] == ["token-2", "token-3"]


def test_a_token_is_renewed_again_after_a_failed_connection(make_store: Any) -> None:
    """A proxy that was restarted meanwhile does not know the new token."""
    # A kept connection that is closed is replaced at once; twice in a row is a failure.
    store, fake = make_store(DENIED, hang_up, hang_up, DENIED)
    assert read_image(store) == DATA
    assert fake.tokens == ["token-1", "token-2", "token-2", "token-2", "token-3"]
    store, fake = make_store(*[DENIED, hang_up, hang_up] * 20, connect_retries=2)
    with pytest.raises(BackendUnavailable):
        read_image(store)
    assert fake.logins == 4


def test_a_token_is_renewed_where_the_rest_is_asked_for(make_store: Any) -> None:
    store, fake = make_store(None, DENIED)
    blob = store.open(store.locate("i"), caller=ANONYMOUS)
    version = blob.version
    blob.close()
    assert version == f"{ETAG} 1795500635.24974"
    assert read_image(store, start=1000, version=version) == DATA[1000:]
    assert fake.tokens == ["token-1", "token-1", "token-2"]
    assert fake.asked[-1].headers["if-match"] == f'"{ETAG}"'


def test_threads_renew_a_refused_token_once(make_store: Any) -> None:
    """One thread renews it, and the others use the new token."""
    everybody = threading.Barrier(4, timeout=TIMEOUT)

    def answer(request: Request, connection: socket.socket) -> bool:
        if request.headers["x-auth-token"] == "token-1":
            everybody.wait()
            return bool(DENIED(request, connection))
        return as_swift_does(request, connection)

    store, fake = make_store(*[answer] * 20)
    assert in_threads(4, lambda: read_image(store)) == []
    assert fake.logins == 2
    assert fake.tokens == ["token-1"] * 4 + ["token-2"] * 4


def test_a_child_logs_in_on_a_connection_of_its_own(make_store: Any) -> None:
    store, fake = make_store(None, DENIED)
    assert read_image(store) == DATA
    child = os.fork()
    if not child:
        status = 1
        with contextlib.suppress(BaseException):
            status = 0 if read_image(store) == DATA else 2
        os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert fake.logins == 2
    # The child process does not use the parent's connections.
    accepted = fake.server.accepted
    assert read_image(store) == DATA
    assert fake.server.accepted == accepted


@pytest.mark.parametrize("answers", [[BUSY, BUSY], [DENIED]])
def test_what_is_asked_again_leaves_no_connection_open(
    make_store: Any, answers: list[Responder]
) -> None:
    store, fake = make_store(*answers)
    assert read_image(store) == DATA
    store.close()
    assert fake.server.has_connections(0)


@pytest.mark.parametrize("version", ["", "x", f"{ETAG}", "x\r\nX-Y: z 1.0", '" 1.0'])
def test_what_is_no_version_is_not_sent(make_store: Any, version: str) -> None:
    store, fake = make_store()
    with pytest.raises(DataChanged):
        read_image(store, version=version)
    assert fake.asked == []


@pytest.mark.parametrize(
    ("answer", "error", "told"),
    [
        (status("400 Bad Request"), BadReply, "status 400"),
        (status("403 Forbidden"), BadReply, "status 403"),
        (status("409 Conflict"), BadReply, "status 409"),
        (status("302 Found", "Location: http://127.0.0.1:1/"), BadReply, "status 302"),
        (status("429 Too Many", "Retry-After: 3"), BackendUnavailable, "status 429"),
        (status("500 Oops"), BackendUnavailable, "status 500"),
        (status("200 OK", "Content-Encoding: gzip"), BadReply, "Content-Encoding"),
        (status("206 Partial Content", "Content-Range: bytes 0-0/1"), BadReply, "status 206"),
    ],
)
def test_answers_that_have_no_data(
    make_store: Any, answer: Responder, error: type[BackendError], told: str
) -> None:
    store, fake = make_store(answer)
    with pytest.raises(error, match=told):
        read_image(store)
    assert len(fake.asked) == 1


@pytest.mark.parametrize("headers", [[], ["Etag: x"], ["X-Timestamp: 1.0"], ['Etag: W/"x"']])
def test_without_etag_or_timestamp_there_is_no_version(make_store: Any, headers: list[str]) -> None:
    store, _ = make_store(status("200 OK", *headers))
    blob = store.open(store.locate("i"), caller=ANONYMOUS)
    assert blob.version is None
    blob.close()


# Logging in.


@pytest.mark.parametrize(
    ("answer", "error", "told"),
    [
        (status("401 Unauthorized"), BadReply, "login failed: .*answers with status 401"),
        (status("404 Not Found"), BadReply, "login failed: .*answers with status 404"),
        (status("412 Precondition Failed"), BadReply, "status 412; check auth_url"),
        (status("429 Too Many"), BackendUnavailable, "answers with status 429"),
        (status("503 Busy"), BackendUnavailable, "answers with status 503"),
        (status("200 OK"), BadReply, "logging in at .* failed: InvalidResponse"),
        (status("200 OK", "X-Storage-Url: ftp://x/", "X-Auth-Token: t"), BadReply, "endpoint"),
        (hang_up, BackendUnavailable, "cannot be reached"),
    ],
)
def test_logging_in_fails(answer: Responder, error: type[BackendError], told: str) -> None:
    with RawServer(answer) as server:
        store = build(
            SwiftStore,
            container="images",
            auth_type="v1password",
            auth_url=f"{server.url}/auth/v1.0",
            username="u",
            password="s3cret",
            connect_retries=1,
        )
        with pytest.raises(error, match=told) as caught:
            read_image(store)
        store.close()
    assert "s3cret" not in str(caught.value)


@contextmanager
def taking_a_body(end: bytes, answer: bytes, after: Callable[[], object] = int) -> Iterator[int]:
    """A server for one request with a body.

    :param end: how the body ends.
    :param after: a function that it calls before it begins to read.
    """

    def serve() -> None:
        connection, _ = listener.accept()
        after()
        received = b""
        with connection, contextlib.suppress(OSError):
            # No data arrives after the client has given up.
            while not received.endswith(end) and (data := connection.recv(1_000_000)):
                received = (received + data)[-1000:]
            connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(TIMEOUT)
        assert not thread.is_alive()


@pytest.mark.parametrize(
    "answer",
    [
        b"{}",
        b"[]",
        b"no JSON",
        b'{"token": null}',
        b'{"token": []}',
        b'{"token": {"expires_at": 5, "catalog": 5}}',
        b'{"token": {"expires_at": "2099-01-01T00:00:00Z", "catalog": [5]}}',
        b'{"token": {"expires_at": "2099-01-01T00:00:00Z", "catalog": [{"type": "object-store"}]}}',
    ],
)
@pytest.mark.parametrize("subject", ["", "X-Subject-Token: t\r\n"])
def test_a_keystone_that_makes_no_sense(answer: bytes, subject: str) -> None:
    said = f"HTTP/1.1 201 Created\r\n{subject}Content-Length: {len(answer)}\r\n\r\n".encode()
    with taking_a_body(b"}", said + answer) as port:
        store = build(
            SwiftStore,
            container="images",
            auth_type="v3password",
            auth_url=f"http://127.0.0.1:{port}/v3",
            user_id="u",
            password="s3cret",
            project_id="p",
        )
        with pytest.raises(BadReply, match=r"logging in|catalog") as caught:
            read_image(store)
        store.close()
    assert "s3cret" not in str(caught.value)


def drips(connection: socket.socket) -> bool:
    """Send the head of an answer, and a byte now and then, until the client leaves."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        connection.sendall(b" ")
        time.sleep(0.02)


def test_logging_in_has_one_timeout_for_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that waits for another thread's login waits no longer than the timeout."""
    received = clock_of(connections, monkeypatch)
    asked = clock_of(session, monkeypatch)
    asked.step = 1

    def drip(_request: Request, connection: socket.socket) -> bool:
        asked.wait_for_looks(10)
        received.step = TIMEOUT / 4
        return drips(connection)

    with RawServer(drip) as server:
        options: dict[str, Any] = {
            "container": "images",
            "auth_type": "v1password",
            "auth_url": f"{server.url}/auth/v1.0",
            "username": "u",
            "password": "s3cret",
            "timeout": TIMEOUT,
            "connect_retries": 0,
        }
        store = build(SwiftStore, **options)
        failed = in_threads(10, lambda: read_image(store))
        assert len(server.requests) == 1
        store.close()
    assert len(failed) == 10


def in_threads(count: int, do: Callable[[], object]) -> list[BackendError]:
    """Runs a function in several threads at once; returns their errors."""
    failed: list[BackendError] = []

    def run() -> None:
        try:
            do()
        except BackendError as error:
            failed.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failed


def test_record_that_drips(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole record must arrive within the timeout."""
    clock = clock_of(connections, monkeypatch)

    def drip(_request: Request, connection: socket.socket) -> bool:
        clock.step = TIMEOUT / 4
        return drips(connection)

    with RawServer(drip) as server:
        registry = build(
            SwiftRegistry,
            container="records",
            auth_type="none",
            endpoint_override=f"{server.url}/v1/AUTH_acme",
            timeout=TIMEOUT,
        )
        with pytest.raises(BackendUnavailable, match="timed out"):
            registry.get("i", ANONYMOUS)
        assert "x-auth-token" not in server.requests[0].headers
        assert server.requests[0].headers["x-newest"] == "true"
        registry.close()


def test_records_are_asked_for_on_one_connection() -> None:
    """Also after errors. A new connection for each record would take longer than the record."""

    def answer(request: Request, connection: socket.socket) -> bool:
        if request.target.endswith("/absent.json"):
            status = "404 Not Found\r\nContent-Length: 6\r\n\r\nabsent"
        elif "if-none-match" in request.headers:
            status = f"304 Not Modified\r\nEtag: {ETAG}\r\nContent-Length: 0\r\n\r\n"
        else:
            record = '{"status": "active"}'
            status = f"200 OK\r\nEtag: {ETAG}\r\nContent-Length: {len(record)}\r\n\r\n{record}"
        connection.sendall(f"HTTP/1.1 {status}".encode())
        return True

    with RawServer(answer) as server:
        registry = build(
            SwiftRegistry,
            container="records",
            auth_type="none",
            endpoint_override=f"{server.url}/v1/AUTH_acme",
        )
        first = registry.get("i", ANONYMOUS)
        for _ in range(3):
            assert registry.get("i", ANONYMOUS) is first
            with pytest.raises(ImageNotFound):
                registry.get("absent", ANONYMOUS)
        assert len(server.requests) == 7
        assert server.accepted == 1
        registry.close()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (status("304 Not Modified"), BadReply),
        (status("412 Precondition Failed"), ImageNotFound),
        (status("503 Busy", "X: y"), BackendUnavailable),
    ],
)
def test_answers_that_have_no_record(answer: Responder, error: type[BackendError]) -> None:
    def with_a_page(request: Request, connection: socket.socket) -> bool:
        if error is not BackendUnavailable:
            return bool(answer(request, connection))
        page = b"x" * 2_000_000
        head = f"HTTP/1.1 503 Busy\r\nContent-Length: {len(page)}\r\n\r\n"
        connection.sendall(head.encode() + page)
        return True

    with RawServer(with_a_page) as server:
        registry = build(
            SwiftRegistry,
            container="records",
            auth_type="none",
            endpoint_override=f"{server.url}/v1/AUTH_acme",
        )
        with pytest.raises(error):
            registry.get("i", ANONYMOUS)
        registry.close()


def test_a_body_has_the_timeout_of_data_and_not_that_of_connecting() -> None:
    """An object server reads nothing while it writes to its disk."""
    created = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"
    with taking_a_body(b"0\r\n\r\n", created, after=lambda: time.sleep(1)) as port:
        assert put_status(port, timeout=TIMEOUT) == 201
    given_up = threading.Event()
    with taking_a_body(b"0\r\n\r\n", created, after=lambda: given_up.wait(TIMEOUT)) as port:
        with pytest.raises(BackendUnavailable, match="timed out while sending"):
            put_status(port, timeout=0.3)
        given_up.set()


def put_status(port: int, timeout: float) -> int:
    """Send more than the system buffers before the server reads; returns the status."""
    store = build(
        SwiftStore,
        container="images",
        auth_type="none",
        endpoint_override=f"http://127.0.0.1:{port}/v1/AUTH_acme",
        connect_timeout=0.3,
        timeout=timeout,
    )
    body = itertools.repeat(b"x" * 100_000, 200)
    try:
        response, _ = store.account.request("PUT", "/images/i", {}, body)
        close(response)
        return response.status
    finally:
        store.close()
