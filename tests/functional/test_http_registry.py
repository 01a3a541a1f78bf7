# SPDX-License-Identifier: Apache-2.0
"""The HTTP registry with a server whose answers the test sends."""

import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from imageapi import document
from imageapi.backends.http.registry import HTTPRegistry
from imageapi.backends.http_client import record_cache
from imageapi.caller import ANONYMOUS, Caller
from imageapi.errors import BackendUnavailable, BadReply, ConfigurationError, ImageNotFound
from imageapi.image import Image
from imageapi.testing.suite import build
from imageapi.visibility import Visibility
from tests.functional.raw_server import RawServer, Request, Responder, closed_by_client

ALICE = Caller(project_id="p1", token="alice")
BOB = Caller(project_id="p2", token="bob")

SEED = {"id": "i", "status": "active", "name": "one", "is_public": True, "properties": {"a": "b"}}
GLANCE = {
    "id": "i",
    "status": "active",
    "name": "one",
    "visibility": "public",
    "a": "b",
    "self": "/v2/images/i",
    "file": "/v2/images/i/file",
    "schema": "/v2/schemas/image",
    "tags": [],
    "os_hash_algo": "sha512",
    "os_hash_value": "ab" * 64,
}


def always(
    body: Any, status: str = "200 OK", length: int | None = None, **headers: Any
) -> Responder:
    """Sends the same answer to each request."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(data) if length is None else length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    sent = "\r\n".join([*lines, "", ""]).encode("latin-1") + data

    def answer(request: Request, connection: socket.socket) -> bool:
        connection.sendall(sent)
        return True

    return answer


Make = Callable[..., tuple[HTTPRegistry, RawServer]]


@pytest.fixture
def make_registry() -> Iterator[Make]:
    """Makes a registry with a raw server. At the end no connection may be open."""
    made: list[tuple[HTTPRegistry, RawServer]] = []

    def make(answer: Responder, **options: Any) -> tuple[HTTPRegistry, RawServer]:
        server = RawServer(answer)
        server.__enter__()
        made.append((build(HTTPRegistry, endpoint=f"{server.url}/records", **options), server))
        return made[-1]

    yield make
    for registry, server in made:
        registry.close()
        assert server.has_connections(0)
        server.__exit__()


@pytest.mark.parametrize("body", [SEED, {"images": [SEED]}, {"image": SEED}, GLANCE])
def test_shapes(make_registry: Make, body: Any) -> None:
    registry, _ = make_registry(always(body))
    image = registry.get("i", ANONYMOUS)
    assert (image.id, image.name, image.is_public) == ("i", "one", True)
    assert dict(image.properties) == {"a": "b"}


@pytest.mark.parametrize(
    ("image_id", "suffix", "target"),
    [
        ("i", "", "/records/i"),
        ("i", ".json", "/records/i.json"),
        ("i", "?format=json", "/records/i?format=json"),
        ("a b%2F\N{SNOWMAN}?#", "", "/records/a%20b%252F%E2%98%83%3F%23"),
    ],
)
def test_url(make_registry: Make, image_id: str, suffix: str, target: str) -> None:
    registry, server = make_registry(always({"status": "active"}), suffix=suffix)
    assert registry.get(image_id, ANONYMOUS).id == image_id
    assert [request.target for request in server.requests] == [target]
    assert server.requests[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("image_id", [".", ".."])
def test_id_that_no_url_can_name_is_not_asked_for(make_registry: Make, image_id: str) -> None:
    registry, server = make_registry(always(SEED))
    with pytest.raises(ImageNotFound):
        registry.get(image_id, ANONYMOUS)
    assert server.requests == []


@pytest.mark.parametrize(
    ("status", "none", "caller"),
    [
        ("404 Not Found", ImageNotFound, ImageNotFound),
        ("410 Gone", ImageNotFound, ImageNotFound),
        ("401 Unauthorized", BadReply, ImageNotFound),
        ("403 Forbidden", BadReply, ImageNotFound),
        ("400 Bad Request", BadReply, BadReply),
        ("302 Found", BadReply, BadReply),
        ("304 Not Modified", BadReply, BadReply),
        ("204 No Content", BadReply, BadReply),
        ("206 Partial Content", BadReply, BadReply),
        ("429 Too Many Requests", BackendUnavailable, BackendUnavailable),
        ("500 Broken", BackendUnavailable, BackendUnavailable),
        ("503 Busy", BackendUnavailable, BackendUnavailable),
    ],
)
def test_statuses(make_registry: Make, status: str, none: type, caller: type) -> None:
    for auth, kind in [("none", none), ("caller", caller)]:
        registry, _ = make_registry(always(b"", status, Location="/records/other"), auth=auth)
        with pytest.raises(kind) as caught:
            registry.get("i", ALICE)
        assert type(caught.value) is kind


def test_retry_after(make_registry: Make) -> None:
    registry, _ = make_registry(always(b"", "503 Busy", Retry_After="7"))
    with pytest.raises(BackendUnavailable) as caught:
        registry.get("i", ANONYMOUS)
    assert caught.value.retry_after == 7


@pytest.mark.parametrize(
    "answer",
    [
        always(b""),
        always(b"{"),
        always(b"\xff"),
        always([]),
        always({"images": []}),
        always({"image": [SEED]}),
        always({"status": "s3cret"}),
        always({**SEED, "id": "other"}),
        always({**SEED, "name": "x" * 1024 * 1024}),
        always(SEED, Content_Encoding="gzip"),
        always(SEED, length=5),
    ],
)
def test_bad_replies(make_registry: Make, answer: Responder) -> None:
    registry, _ = make_registry(answer)
    with pytest.raises(BadReply, match="/records/i"):
        registry.get("i", ANONYMOUS)


@pytest.mark.parametrize(
    ("body", "visibility"),
    [
        (b"{", None),
        ({**SEED, "id": "other"}, None),
        ({**SEED, "size": -1}, Visibility(is_public=True)),
        ({**SEED, "size": -1, "is_public": False, "owner": "p1"}, Visibility(owner="p1")),
        ({**SEED, "status": "activ"}, Visibility()),
    ],
)
def test_malformed_record_is_parsed_once(
    make_registry: Make, monkeypatch: pytest.MonkeyPatch, body: Any, visibility: Visibility | None
) -> None:
    """It is requested again with its ETag, and its error says who may see the image."""
    statuses = []

    def answer(request: Request, connection: socket.socket) -> bool:
        statuses.append(304 if request.headers.get("if-none-match") == '"x"' else 200)
        if statuses[-1] == 304:
            connection.sendall(b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n\r\n')
            return True
        return bool(always(body, ETag='"x"')(request, connection))

    parsed = []
    parse = document.parse

    def counted(data: bytes, image_id: str) -> Image:
        parsed.append(image_id)
        return parse(data, image_id)

    monkeypatch.setattr(document.parsing, "parse", counted)
    registry, _ = make_registry(answer)
    errors = []
    for _ in range(3):
        with pytest.raises(BadReply, match="/records/i: ") as caught:
            registry.get("i", ANONYMOUS)
        errors.append((str(caught.value), caught.value.visibility))
    assert errors == [(errors[0][0], visibility)] * 3
    assert len(parsed) == 1
    assert statuses == [200, 304, 304]


# Seconds, for requests that must time out: a delay of a busy machine has the same result.
SHORT = 0.3


def times_out(registry: HTTPRegistry) -> None:
    """Ask for a record: the answer does not arrive in time."""
    with pytest.raises(BackendUnavailable, match="timed out"):
        registry.get("i", ANONYMOUS)


@pytest.mark.parametrize("length", [10**6, 10**12])
def test_body_that_does_not_come(make_registry: Make, length: int) -> None:
    def answer(request: Request, connection: socket.socket) -> bool:
        connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode())
        return closed_by_client(connection, 60) and False

    registry, _ = make_registry(answer, read_timeout=SHORT)
    times_out(registry)


def test_body_that_drips(make_registry: Make) -> None:
    server: RawServer

    def answer(request: Request, connection: socket.socket) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(1000):
            connection.sendall(b" ")
            server.waits(0.05)
        return False

    registry, server = make_registry(answer, read_timeout=SHORT)
    times_out(registry)


@pytest.mark.parametrize("framing", ["trailer", "head"])
def test_answer_that_drips_where_nobody_looks(make_registry: Make, framing: str) -> None:
    server: RawServer

    def answer(request: Request, connection: socket.socket) -> bool:
        sent = b"HTTP/1.1 200 OK\r\n"
        if framing == "trailer":
            body = json.dumps(SEED).encode()
            sent += b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n" % (len(body), body)
        connection.sendall(sent)
        while True:
            connection.sendall(b"X: y\r\n")
            server.waits(0.05)

    registry, server = make_registry(answer, read_timeout=SHORT)
    times_out(registry)


def test_slow_head_and_slow_body_share_one_timeout(make_registry: Make) -> None:
    server: RawServer

    def answer(request: Request, connection: socket.socket) -> bool:
        server.waits(0.7)
        body = json.dumps(SEED).encode()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
        server.waits(0.7)
        connection.sendall(body)
        return True

    registry, server = make_registry(answer, read_timeout=1)
    times_out(registry)


def test_early_answer_is_not_mistaken_for_the_next_one(make_registry: Make) -> None:
    """Otherwise Bob would get the answer for Alice."""

    def answer(request: Request, connection: socket.socket) -> bool:
        connection.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        name = f"for {request.headers['x-auth-token']}"
        return bool(always({**SEED, "name": name})(request, connection))

    registry, _ = make_registry(answer, auth="caller")
    for caller in (ALICE, BOB):
        with pytest.raises(BadReply):
            registry.get("i", caller)


@pytest.mark.parametrize(
    "answer",
    [
        always(b"x" * 2_000_000, "404 Not Found"),
        always(b"x", "404 Not Found", Content_Encoding="gzip"),
    ],
)
def test_body_of_an_error_does_not_matter(make_registry: Make, answer: Responder) -> None:
    registry, _ = make_registry(answer)
    with pytest.raises(ImageNotFound):
        registry.get("i", ANONYMOUS)


def test_connection_is_used_again_after_a_304_and_a_404(make_registry: Make) -> None:
    ports = []
    revalidating = Revalidating()

    def answer(request: Request, connection: socket.socket) -> bool:
        ports.append(connection.getpeername()[1])
        if request.target.endswith("/absent"):
            return bool(always(b"no", "404 Not Found")(request, connection))
        return revalidating(request, connection)

    registry, _ = make_registry(answer)
    for image_id in ("i", "i", "absent", "i"):
        with contextlib.suppress(ImageNotFound):
            registry.get(image_id, ANONYMOUS)
    assert revalidating.statuses == [200, 304, 304]
    assert len(set(ports)) == 1


class Revalidating:
    """Answers with a record for each token, and with 304 if the ETag is still the same."""

    def __init__(self, **headers: Any) -> None:
        self.names = {"alice": "for alice", "bob": "for bob"}
        self.statuses: list[int] = []
        self.headers = headers

    def __call__(self, request: Request, connection: socket.socket) -> bool:
        name = self.names[request.headers.get("x-auth-token", "alice")]
        etag = f'"{name}"'
        if request.headers.get("if-none-match") == etag:
            self.statuses.append(304)
            connection.sendall(f"HTTP/1.1 304 Not Modified\r\nETag: {etag}\r\n\r\n".encode())
            return True
        self.statuses.append(200)
        return bool(always({**SEED, "name": name}, ETag=etag, **self.headers)(request, connection))


def test_remembered_records_are_asked_for_again(make_registry: Make) -> None:
    answer = Revalidating()
    registry, _ = make_registry(answer)
    first = registry.get("i", ANONYMOUS)
    assert registry.get("i", ANONYMOUS) is first
    answer.names["alice"] = "changed"
    assert registry.get("i", ANONYMOUS).name == "changed"
    assert registry.get("i", ANONYMOUS).name == "changed"
    assert answer.statuses == [200, 304, 200, 304]


def test_remembered_by_caller_where_it_decides(make_registry: Make) -> None:
    answer = Revalidating()
    registry, server = make_registry(answer, auth="caller")
    for _ in range(2):
        assert registry.get("i", ALICE).name == "for alice"
        assert registry.get("i", BOB).name == "for bob"
    assert answer.statuses == [200, 200, 304, 304]
    assert [request.headers["x-auth-token"] for request in server.requests] == ["alice", "bob"] * 2


def test_token_goes_nowhere_without_auth(make_registry: Make) -> None:
    registry, server = make_registry(always(SEED))
    registry.get("i", ALICE)
    assert "x-auth-token" not in server.requests[0].headers


@pytest.mark.parametrize("token", [None, "", "two words", "a\r\nX-Is-Admin: yes", "\N{SNOWMAN}"])
def test_token_that_is_none(make_registry: Make, token: str | None) -> None:
    registry, server = make_registry(always(SEED), auth="caller")
    registry.get("i", Caller(token=token))
    assert not {"x-auth-token", "x-is-admin"} & server.requests[0].headers.keys()


def test_decides_visibility_with_the_callers_token_only(make_registry: Make) -> None:
    assert make_registry(always(SEED), auth="caller")[0].decides_visibility is True
    assert make_registry(always(SEED))[0].decides_visibility is False


def test_what_changed_just_now_is_not_remembered(make_registry: Make) -> None:
    """Two versions within a second can have the same ETag."""
    answer = Revalidating(
        Last_Modified="Wed, 03 Feb 2010 09:34:00 GMT", Date="Wed, 03 Feb 2010 09:34:01 GMT"
    )
    registry, _ = make_registry(answer)
    registry.get("i", ANONYMOUS)
    registry.get("i", ANONYMOUS)
    assert answer.statuses == [200, 200]


def test_record_that_is_too_large_to_be_remembered(
    make_registry: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_cache, "_REMEMBERED_BYTES", 50_000)
    properties: Any = {"x": [{} for _ in range(1000)]}
    registry, server = make_registry(
        always({"status": "active", "properties": properties}, ETag='"e"')
    )
    for _ in range(2):
        assert registry.get("i", ANONYMOUS).status == "active"
    assert "if-none-match" not in server.requests[1].headers


@pytest.mark.parametrize("body", [SEED, b""])
@pytest.mark.parametrize("status", ["200 OK", "404 Not Found"])
def test_check_is_content(make_registry: Make, body: Any, status: str) -> None:
    registry, server = make_registry(always(body, status))
    assert registry.check() == f"endpoint {server.url}/records"


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden", "302 Found", "500 X"])
def test_check_is_not_content(make_registry: Make, status: str) -> None:
    registry, _ = make_registry(always(b"", status))
    with pytest.raises((BadReply, BackendUnavailable), match=status[:3]):
        registry.check()


def test_check_without_a_token(make_registry: Make) -> None:
    """Glance refuses requests without a token, so check can only tell that it answers."""
    registry, _ = make_registry(always(b"", "401 Unauthorized"), auth="caller")
    registry.check()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"endpoint": "ftp://x"}, "endpoint: .*not an http"),
        ({"endpoint": "http://user:s3cret@x"}, "endpoint: .*credentials"),
        ({"endpoint": "http://x?s3cret"}, "endpoint: .*query"),
        ({"suffix": " x"}, "suffix: .*character"),
        ({"suffix": "#s3cret"}, "suffix: .*fragment"),
        ({"ca_file": "/absent.pem"}, "ca_file: .*No such file"),
        ({"ca_file": __file__}, "ca_file: .*PEM"),
        ({"cert_file": "/absent.pem"}, "cert_file: .*No such file"),
        ({"key_file": "/absent.pem"}, "key_file: set cert_file too"),
        ({"ca_file": "/a\0b"}, "ca_file: must not contain a NUL"),
        ({"cert_file": __file__, "key_file": "/a\0b"}, "key_file: must not contain a NUL"),
        ({"proxy": "nonsense"}, "proxy: must be a URL"),
        ({"proxy": "http://u:s3cret%E2%82%AC@x"}, "proxy: must be a URL"),
        ({"proxy": "ftp://user:s3cret@x"}, "proxy: must be a URL"),
        ({"proxy": "http://user:s3cret@x/path"}, "proxy: must be a URL"),
    ],
)
def test_options_that_cannot_work(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem) as caught:
        build(HTTPRegistry, **{"endpoint": "http://x", **options})
    assert "s3cret" not in str(caught.value)


def test_proxy(make_registry: Make, tmp_path: Path) -> None:
    """The proxy gets the whole URL, and its own credentials."""
    proxy = RawServer(always(SEED))
    with proxy:
        url = proxy.url.replace("//", "//user:p%40ss@")
        registry, server = make_registry(always(SEED), proxy=url)
        assert registry.get("i", ANONYMOUS).id == "i"
        registry.close()
        (request,) = proxy.requests
        assert request.target == f"{server.url}/records/i"
        assert request.headers["proxy-authorization"] == "Basic dXNlcjpwQHNz"
        assert server.requests == []


def test_proxies_of_the_environment_are_ignored(
    make_registry: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    registry, _ = make_registry(always(SEED))
    assert registry.get("i", ANONYMOUS).id == "i"
