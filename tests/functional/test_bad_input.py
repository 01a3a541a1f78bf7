# SPDX-License-Identifier: Apache-2.0
"""Every input is answered or refused: no 5xx for a request, no hang, no traceback.

The properties are those of ``tests/fuzz``, where atheris asks them for longer.
"""

import contextlib
import errno
import json
import random
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from imageapi.backends.file.store import FileStore
from imageapi.backends.s3 import client as s3_client
from tests.functional.raw_client import exchange
from tests.functional.servers import running_imageapi
from tests.functional.waiting import becomes_true
from tests.fuzz import properties
from tests.fuzz.properties import MD5, Site, Upstreams

# The fixtures keep no state between examples.
ASKED = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])

PIECES = st.lists(
    st.sampled_from(
        ["bytes", "=", "-", ",", "0", "3071", "9" * 30, '"', "W/", "*", " ", "\t", MD5, "\xb2", "x"]
    ),
    max_size=12,
).map("".join)
ENDS = st.sampled_from(["", "0", "1", "3071", "3072", "9" * 30, " ", "\xb2"])
RANGES = st.tuples(ENDS, st.sampled_from(["-", "-", ","]), ENDS).map(
    "bytes={0[0]}{0[1]}{0[2]}".format
)
HEADER = PIECES | RANGES | st.text(st.characters(max_codepoint=255), max_size=30)

PERHAPS = st.booleans().flatmap(lambda there: HEADER if there else st.none())

HEADERS = st.dictionaries(
    st.sampled_from(
        ["RANGE", "IF_RANGE", "IF_MATCH", "IF_NONE_MATCH", "HOST", "ACCEPT", "X_AUTH_TOKEN"]
    ).map("HTTP_{}".format),
    HEADER,
    max_size=4,
)


@pytest.fixture(scope="module")
def site_of_requests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("site") / "deployment")
    yield site
    site.api.close()


@settings(ASKED, max_examples=400)
@given(PERHAPS, PERHAPS, PERHAPS, PERHAPS | RANGES)
def test_conditions(
    if_match: str | None, if_none_match: str | None, if_range: str | None, asked: str | None
) -> None:
    properties.conditions(if_match, if_none_match, if_range, asked)


METHODS = st.sampled_from(["GET", "GET", "HEAD", "POST", "get", "\xff"])
IMAGES = [
    *["whole", "empty", "small", "unsized", "unhashed", "elsewhere", "private", "described"],
    "\u00fc b",
]
IMAGES += ["deactivated", "queued", "wrong", "short", "outside", "malformed", "absent"]
PATHS = st.sampled_from(IMAGES).map(lambda name: f"/v1/images/{name}".encode().decode("latin-1"))
QUERIES = st.sampled_from(["", "format=json", "format=json&%FF"]) | HEADER


@settings(ASKED, max_examples=300)
@given(METHODS, PATHS | st.text(st.characters(max_codepoint=255)), QUERIES, HEADERS)
def test_requests(
    site_of_requests: Site, method: str, path: str, query: str, headers: dict[str, str]
) -> None:
    site_of_requests.ask(method, path, query, headers)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)
# Valid and invalid values of fields.
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "is_public": st.booleans(),
    "visibility": st.sampled_from(["public", "shared", "other"]),
    "size": st.integers(-1) | st.integers(0).map(str),
    "checksum": st.sampled_from([MD5, MD5.upper(), MD5[1:]]),
    "created_at": st.datetimes().map(str) | st.text(max_size=8),
    "deleted": st.booleans(),
    "members": st.lists(st.text(max_size=3), max_size=3),
    "properties": st.dictionaries(st.text(max_size=4), JSON, max_size=4),
    "os_hash_algo": st.sampled_from(["md5", "sha256", "shake_128", "nonsense\0"]),
    "os_hash_value": st.sampled_from(["", "00", "zz"]),
    "locations": st.lists(st.text(min_size=1) | st.fixed_dictionaries({"url": st.text()})),
    "x": JSON,
}
RECORDS = st.fixed_dictionaries(
    {"status": st.sampled_from(["active", "active", "queued", "deleted", "nonsense"])},
    optional={name: values | JSON if name != "x" else values for name, values in FIELDS.items()},
)


@settings(ASKED, max_examples=150)
@given(RECORDS.map(json.dumps).map(str.encode) | st.binary(max_size=50))
def test_records(data: bytes) -> None:
    properties.record(data)


URLS = st.lists(
    st.sampled_from(
        [
            "file:",
            "http:",
            "swift+https:",
            "/",
            "//",
            "..",
            "%2e",
            "%00",
            "%FF",
            "@",
            ":",
            "[",
            "]",
            "?",
            "#",
            "host",
            "localhost",
            "99999",
            ";",
            "\\",
            "�",
            "\n",
        ]
    )
    | st.text(max_size=3),
    max_size=8,
).map("".join)


@settings(ASKED, max_examples=200)
@given(URLS)
def test_locations(site_of_requests: Site, url: str) -> None:
    store = site_of_requests.api.backends.stores[0].backend
    assert isinstance(store, FileStore)
    properties.location(url, store)


VALUES = st.sampled_from(
    [
        "",
        "0",
        "-1",
        "1e300",
        "nan",
        "file",
        "a:http",
        ":",
        ",",
        "a,a",
        "$stores",
        "$",
        '"',
        "\x00",
        "http://x:y",
        "https://u:p@x/{image_id}",
        "true",
        "{folder}",
        "9" * 5000,
        "[" * 50,
    ]
) | st.text(max_size=10)
OPTIONS = st.sampled_from(
    [
        "registry",
        "stores",
        "policy",
        "chunk_size",
        "public_endpoint",
        "verify_checksum",
        "resume_attempts",
        "max_property_headers",
        "admin_roles",
        "directory",
        "policy_file",
        "allowed_urls",
        "url_template",
        "proxy",
        "connect_timeout",
        "read_timeout",
        "ca_file",
        "cert_file",
        "key_file",
        "endpoint",
        "suffix",
        "auth",
        "nonsense",
    ]
)
SECTIONS = st.sampled_from(
    [
        "imageapi",
        "imageapi_store_file",
        "imageapi_registry_file",
        "imageapi_policy_rules",
        "imageapi_store_http",
        "imageapi_registry_http",
        "imageapi_store_a",
        "nonsense",
        "]",
    ]
)
LINES = (
    st.tuples(OPTIONS, VALUES).map(" = ".join)
    | OPTIONS.map("{0} = ${0}".format)
    | SECTIONS.map("[{}]".format)
    | st.sampled_from(["stores = http", "registry = http", "[imageapi]"])
)


@ASKED
@given(st.lists(LINES, max_size=8).map(lambda lines: "\n".join(["[imageapi]", *lines])))
def test_configurations(tmp_path: Path, text: str) -> None:
    properties.configuration(tmp_path, text)


WORDS = st.sampled_from(
    ["role:a", "is_admin:True", "'x':%(p)s", "rule:x", "@", "!", "and", "or", "not", "(", ")", "%"]
)


@ASKED
@given(
    st.lists(WORDS, max_size=8).map(lambda words: json.dumps({"get_image": " ".join(words)}))
    | st.dictionaries(st.text(max_size=4), JSON, max_size=3).map(json.dumps)
    | st.text(max_size=20)
)
@example('{"unused": "@"}')
def test_policy_files(tmp_path: Path, text: str) -> None:
    properties.rules(tmp_path, text)


GOOD_RECORD = b'{"status": "active", "is_public": true, "size": 4}'
ANSWER_LINES = st.sampled_from(
    [
        b"Content-Length: 4",
        b"Content-Length: 50",
        b"Content-Length: -1",
        b"ETag: \xff",
        b": x",
        b"",
        b"Transfer-Encoding: chunked",
        b"Content-Encoding: gzip",
        b"Content-Range: bytes 0-3/4",
        b"Location: //[",
        b"Location: /data/x",
        b"Retry-After: 9999999999",
        b"Connection: upgrade",
    ]
)
ANSWERS = st.builds(
    lambda status, lines, body: b"\r\n".join([status, *lines, b"", body]),
    st.sampled_from(
        [
            b"HTTP/1.1 200 OK",
            b"HTTP/1.1 206",
            b"HTTP/1.1 302 x",
            b"HTTP/1.1 416 x",
            b"HTTP/1.1 503 x",
            b"HTTP/1.1 099 x",
            b"HTTP/0.9 200 OK",
            b"HTTP/1.1 100 Continue",
        ]
    ),
    st.lists(ANSWER_LINES, max_size=4),
    st.sampled_from([b"data", GOOD_RECORD, b"4\r\ndata\r\n0\r\n\r\n", b"zz\r\n", b""]),
) | st.binary(max_size=40)


@settings(ASKED, max_examples=80)
@given(st.just(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n" + GOOD_RECORD) | ANSWERS, ANSWERS)
def test_answers_of_upstreams(upstreams: Upstreams, registry: bytes, store: bytes) -> None:
    upstreams.say(registry, store)


@pytest.fixture(scope="module")
def upstreams(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstreams]:
    upstreams = Upstreams(tmp_path_factory.mktemp("upstreams"))
    yield upstreams
    upstreams.close()


S3_ERRORS = st.sampled_from(
    [b"NoSuchKey", b"NoSuchBucket", b"RequestTimeTooSkewed", b"ExpiredToken", b"AccessDenied", b"<"]
).map(lambda code: b"HTTP/1.1 403 x\r\nDate: x\r\n\r\n<Error><Code>" + code + b"</Code></Error>")


@settings(ASKED, max_examples=60)
@given(S3_ERRORS | ANSWERS)
def test_answers_of_s3(s3_upstream: Upstreams, answer: bytes) -> None:
    s3_upstream.say(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n" + GOOD_RECORD, answer)


@pytest.fixture(scope="module")
def s3_upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstreams]:
    with pytest.MonkeyPatch.context() as patched:
        # It would wait before each of them.
        patched.setattr(s3_client, "_RETRIES", 0)
        upstreams = Upstreams(tmp_path_factory.mktemp("s3"), "s3")
        yield upstreams
        upstreams.close()


LISTED = st.fixed_dictionaries(
    {"images": st.lists(RECORDS | JSON, max_size=3) | JSON}, optional={"next": JSON, "first": JSON}
)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_answers_of_lists(tmp_path: Path, version: str) -> None:
    with contextlib.closing(Upstreams(tmp_path, f"{version} lists")) as upstreams:

        @settings(ASKED, max_examples=60)
        @given((LISTED | JSON).map(json.dumps).map(str.encode))
        def ask(body: bytes) -> None:
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
            upstreams.say(head + body, b"", "/v1/images/detail?limit=2")

        ask()


LIST_NAMES = st.sampled_from(
    "name status size_min min_ram changes-since limit marker sort_key sort_dir is_public protected"
    " property-a".split()
)
LIST_VALUES = st.sampled_from(
    ["", "0", "-1", "1e9", "none", "true", "2010-01-01T00:00:00Z", "size", "asc", "whole", "%FF"]
) | st.text(max_size=5)


@settings(ASKED, max_examples=200)
@given(
    st.lists(st.tuples(LIST_NAMES, LIST_VALUES), max_size=5).map(
        lambda pairs: "&".join("=".join(pair) for pair in pairs).encode().decode("latin-1")
    ),
    st.booleans(),
)
def test_queries_of_lists(site_of_requests: Site, query: str, is_admin: bool) -> None:
    site_of_requests.list(query, is_admin=is_admin)


ROWS = st.fixed_dictionaries(
    {
        "fields": RECORDS.map(lambda record: {"id": "i", "deleted": 0, **record}),
        "properties": st.lists(st.tuples(st.text(max_size=3) | JSON, JSON), max_size=3),
        "locations": st.lists(st.tuples(JSON, JSON, st.just("1")), max_size=2),
        "members": st.lists(st.text(max_size=3) | JSON, max_size=2),
    }
)


@settings(ASKED, max_examples=150)
@given(ROWS.map(json.dumps).map(str.encode))
def test_rows_of_a_database(data: bytes) -> None:
    properties.database_rows(data)


def test_raw_sockets(site_of_requests: Site) -> None:
    """Sends random bytes, made from a seed, to ``imageapi serve``."""
    rng = random.Random(7)
    log = site_of_requests.files.folder / "server.log"
    with (
        running_imageapi(site_of_requests.files.config_file, "--threads", "4") as server,
        contextlib.ExitStack() as silent,
    ):
        port = server.port
        _is_well(site_of_requests, port)
        (worker,) = server.children()
        # Connections that stay open and silent; gunicorn has a thread wait 5 seconds for each.
        for _ in range(3):
            silent.enter_context(socket.create_connection(("127.0.0.1", port)))
        descriptors = worker.num_fds()
        for _ in range(500):
            request = _request(rng)
            _judge(site_of_requests, request, _answers(port, request, rng))
        _is_well(site_of_requests, port)
        assert server.children() == [worker]
        assert becomes_true(lambda: worker.num_fds() <= descriptors)
    # This error breaks a response off if the data is wrong.
    assert _raised(log.read_text(errors="replace")) <= {"imageapi.errors.WrongHash"}


def _raised(log: str) -> set[str]:
    """The names of the exceptions that have a traceback in a log."""
    blocks = log.split("Traceback (most recent call last):\n")[1:]
    return {re.findall(r"^(\S+?):? ", block, re.MULTILINE)[0] for block in blocks}


TARGETS = [f"/v1/images/{name}".replace(" ", "%20").encode() for name in IMAGES]
TARGETS += [b"/", b"*", b"//[", b"http://x/v1/images/whole", b"/v1/images/%00", b"/v1/images/%FF"]
TARGETS += [
    b"/v1/images/../../etc/passwd",
    b"/v1/images/%2e%2e%2fetc",
    b"/v1/images/" + b"a" * 3000,
]
LINES_OF_HEADS = [b"Host: h", b"Host: ", b"Host: \xff", b"Range: bytes=0-9", b"Range: bytes=-"]
LINES_OF_HEADS += [b"Range: bytes=" + b"0-1," * 900, b"If-None-Match: " + b'"' * 4000, b"Expect: x"]
LINES_OF_HEADS += [b"If-Match: *", b"Accept: text/html;q=\xb2", b"Accept: " + b"a/b;" * 900]
LINES_OF_HEADS += [b"Content-Length: 5", b"Content-Length: -5", b"Transfer-Encoding: chunked"]
LINES_OF_HEADS += [b"Transfer-Encoding: x", b"SCRIPT_NAME: /x", b"X-Forwarded-Proto: https", b" x"]
LINES_OF_HEADS += [
    b"X-Identity-Status: Confirmed",
    b"X-Roles: admin",
    b"A\0: b",
    b"A: b\rC: d",
    b":",
]
LINES_OF_HEADS += [b"Upgrade: h2c", b"Connection: upgrade, HTTP2-Settings", b"X: " + b"x" * 9000]


def _request(rng: random.Random) -> bytes:
    method = rng.choice([b"GET"] * 6 + [b"HEAD"] * 2 + [b"POST", b"get", b"PRI", b"\xff"])
    version = rng.choice([b"HTTP/1.1"] * 8 + [b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.1 x", b""])
    lines = [b" ".join([method, rng.choice(TARGETS), version])]
    lines += rng.sample(LINES_OF_HEADS, rng.randrange(5))
    end = rng.choice([b"\r\n"] * 9 + [b"\n"])
    request = (
        end.join(lines) + end * 2 + rng.choice([b""] * 6 + [b"hello", b"5\r\nhello\r\n", b"\0"])
    )
    spoilt = bytearray(request)
    if rng.random() < 0.3:
        for _ in range(rng.randrange(1, 5)):
            spoilt[rng.randrange(len(spoilt))] = rng.randrange(256)
    if rng.random() < 0.1:
        del spoilt[rng.randrange(len(spoilt)) :]
    return bytes(spoilt)


def _answers(port: int, request: bytes, rng: random.Random) -> bytes:
    """All bytes until the server closes the connection, which it must do soon."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        try:
            if rng.random() < 0.1:
                sock.sendall(request[: len(request) // 2])
                time.sleep(0.02)
                request = request[len(request) // 2 :]
            sock.sendall(request)
            sock.shutdown(socket.SHUT_WR)
            if rng.random() < 0.05:
                return b""  # leaves without reading the answer
            while chunk := sock.recv(65536):
                received += chunk
        except OSError as error:
            # If the server closes before it has read the request, the system resets the connection.
            if not isinstance(error, ConnectionError) and error.errno != errno.ENOTCONN:
                raise
    return received


def _judge(site: Site, request: bytes, answer: bytes) -> None:
    assert b"Traceback" not in answer
    assert str(site.files.folder).encode() not in answer
    broken = any(f"/{name}".encode() in request for name in site.broken)
    # RFC 9112, 6.1: the answer to an unknown transfer coding.
    allowed = {501} if b"transfer-encoding" in request.lower() else set()
    for status in re.findall(rb"(?:\A|\n)HTTP/1\.[01] ([0-9]{3})", answer):
        assert int(status) < 500 or broken or int(status) in allowed, (request, answer[:500])


def _is_well(site: Site, port: int) -> None:
    answer = exchange(
        port, b"GET /v1/images/whole HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    )
    assert (answer.status, answer.body) == (200, site.healthy["whole"])
