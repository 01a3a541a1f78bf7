# SPDX-License-Identifier: Apache-2.0
"""The HTTP store with a server whose faults no real server can be made to show.

Whatever it does, a client gets the right bytes, a broken connection or an error response,
within the timeouts, and no connection stays open.
"""

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import webob

import imageapi
from imageapi import Caller
from imageapi.backends.http.store import HTTPStore
from imageapi.backends.http_client import connections
from imageapi.errors import (
    BackendError,
    BackendUnavailable,
    ConfigurationError,
    LocationRefused,
    RangeNotSupported,
)
from imageapi.image import Image, Location
from imageapi.testing.fakes import MemoryRegistry
from imageapi.testing.suite import build
from tests.deployment import received_of, send
from tests.functional.clock import clock_of
from tests.functional.raw_server import RawServer, Request, Responder, closed_by_client
from tests.functional.servers import free_port, serving
from tests.functional.waiting import wait_until
from tests.memory import image_of

DATA = os.urandom(300_000)
CHUNK = 65536
ETAG = '"v1"'
# Seconds, for requests that must not time out; longer than `_nothing_waits` allows.
TIMEOUT = 60
# For requests that must time out: a delay of a busy machine has the same result.
SHORT = "read_timeout = 0.2"
WITH_TOKEN = Caller(user_id="u", project_id="p", roles=("member",), token="t0ken")

CONFIG = """\
[imageapi]
registry = memory
stores = http
policy = visible
chunk_size = {chunk}
unsafe_images = serve
[imageapi_store_http]
allowed_urls = {url}/images
url_template = {url}/images/{{image_id}}
read_timeout = {timeout}
connect_timeout = {timeout}
{more}
"""


def head(status: str = "200 OK", length: int | None = len(DATA), **headers: Any) -> bytes:
    """The head of an answer; header names are written with underscores."""
    lines = [f"HTTP/1.1 {status}"]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def head_for(request: Request, etag: str = ETAG) -> bytes:
    """The head of the right answer, also to a range."""
    if "range" not in request.headers:
        return head(ETag=etag)
    start, _, last = request.headers["range"][6:].partition("-")
    stop = int(last) + 1 if last else len(DATA)
    told = f"bytes {start}-{stop - 1}/{len(DATA)}"
    return head("206 Partial Content", stop - int(start), ETag=etag, Content_Range=told)


def right(request: Request, connection: socket.socket) -> bool:
    connection.sendall(head_for(request) + DATA[request.start :])
    return True


class Front:
    """imageapi with one image, whose data a raw server sends."""

    template = CONFIG

    def __init__(self, folder: Path, answer: Responder, more: str = "", **fields: Any) -> None:
        self.server = RawServer(answer)
        self.config = folder / "front.conf"
        self.config.write_text(
            self.template.format(chunk=CHUNK, url=self.server.url, timeout=TIMEOUT, more=more)
        )
        self.api = imageapi.ImageAPI(imageapi.load_config([self.config]))
        registry = self.api.backends.registry.backend
        assert isinstance(registry, MemoryRegistry)
        registry.put(image_of(DATA, **fields))

    def request(self, **headers: str) -> webob.Response:
        return send(self.api, "/v1/images/i", "GET", headers, WITH_TOKEN)

    def get(self, **headers: str) -> tuple[int, bytes | None]:
        """The status, and the bytes of a complete body; None if the body was broken off."""
        response = self.request(**headers)
        return response.status_int, self.read(response)

    def read(self, response: webob.Response) -> bytes | None:
        """The bytes of a complete body; None if it was broken off."""
        received, is_complete = received_of(response)
        if is_complete:
            return received
        assert len(received) < int(response.headers.get("Content-Length", len(received) + 1))
        return None


@contextmanager
def fronts_in(folder: Path, kind: type[Front] = Front) -> Iterator[Callable[..., Front]]:
    """Yields what makes a Front. At the end no connection may be open."""
    fronts: list[Front] = []

    def make(answer: Responder, more: str = "", **fields: Any) -> Front:
        made = kind(folder, answer, more, **fields)
        made.server.__enter__()
        fronts.append(made)
        return made

    yield make
    for made in fronts:
        made.api.close()
        assert made.server.has_connections(0)
        made.server.__exit__()


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Callable[..., Front]]:
    with fronts_in(tmp_path) as make:
        yield make


@pytest.fixture(autouse=True)
def _nothing_waits() -> Iterator[None]:
    """No test waits for the timeout that must not happen."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < TIMEOUT


def dropping(at: int, times: int = 1) -> Responder:
    """Closes the connection before a byte of the data, a number of times."""
    left = [times]

    def answer(request: Request, connection: socket.socket) -> bool:
        if left[0] == 0:
            return right(request, connection)
        left[0] -= 1
        connection.sendall(head_for(request) + DATA[request.start : max(at, request.start)])
        return False

    return answer


BORDERS = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, len(DATA) - 1]


@pytest.mark.parametrize("at", BORDERS)
def test_dropped_once_is_resumed(front: Any, at: int) -> None:
    one = front(dropping(at))
    assert one.get() == (200, DATA)
    first, again = one.server.requests
    assert "range" not in first.headers
    assert again.headers["if-match"] == ETAG
    # The bytes of an incomplete chunk are requested again.
    assert at - CHUNK < again.start <= at


@pytest.mark.parametrize("at", [10_000, 150_000, 199_999])
def test_part_that_is_dropped_is_resumed(front: Any, at: int) -> None:
    one = front(dropping(at))
    assert one.get(Range="bytes=10000-199999") == (206, DATA[10_000:200_000])


@pytest.mark.parametrize("at", BORDERS)
def test_dropped_always(front: Any, at: int) -> None:
    one = front(dropping(at, times=99))
    status, body = one.get()
    assert status == 503 or (status, body) == (200, None)
    # Each may be retried at once, because the kept connection was closed.
    assert len(one.server.requests) <= 8


def test_dropped_without_a_version_is_broken_off(front: Any) -> None:
    def answer(request: Request, connection: socket.socket) -> bool:
        connection.sendall(head() + DATA[: 2 * CHUNK])
        return False

    one = front(answer)
    assert one.get() == (200, None)
    assert len(one.server.requests) == 1


WHOLE_HEAD = head(ETag=ETAG)


@pytest.mark.parametrize("at", [0, 1, 12, 15, 30, len(WHOLE_HEAD) - 3, len(WHOLE_HEAD) - 1])
@pytest.mark.parametrize("size", [len(DATA), None])
def test_head_that_is_cut(front: Any, at: int, size: int | None) -> None:
    """http.client would accept the end of the connection as the end of the head."""

    def answer(request: Request, connection: socket.socket) -> bool:
        connection.sendall(WHOLE_HEAD[:at])
        return False

    one = front(answer, size=size, checksum=None)
    assert one.get()[0] in (502, 503)


@pytest.mark.parametrize("at", [0, 1, 20, len(WHOLE_HEAD) - 1])
def test_hangs_before_and_within_its_head(front: Any, at: int) -> None:
    def answer(request: Request, connection: socket.socket) -> bool:
        connection.sendall(WHOLE_HEAD[:at])
        closed_by_client(connection, TIMEOUT)
        return False

    one = front(answer, SHORT)
    assert one.get()[0] == 503


def test_head_that_drips(front: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each read takes less than the timeout, but the whole head takes longer."""
    one: Front
    clock = clock_of(connections, monkeypatch)

    def answer(request: Request, connection: socket.socket) -> bool:
        clock.step = TIMEOUT / 4
        connection.sendall(head(X="x").removesuffix(b"\r\n\r\n"))
        while True:
            connection.sendall(b"x")
            one.server.waits(0.02)

    one = front(answer)
    assert one.get()[0] == 503


@pytest.mark.parametrize("at", BORDERS)
def test_hangs_within_its_body(front: Any, at: int) -> None:
    def answer(request: Request, connection: socket.socket) -> bool:
        connection.sendall(head_for(request) + DATA[request.start : max(at, request.start)])
        closed_by_client(connection, TIMEOUT)
        return False

    one = front(answer, SHORT)
    status, body = one.get()
    assert status == 503 or (status, body) == (200, None)


def test_data_that_drips_is_handed_on() -> None:
    """The server sends a byte when the client has the one before, so each arrives."""
    wanted = threading.Semaphore(0)

    def answer(request: Request, connection: socket.socket) -> bool:
        connection.sendall(head(length=5, ETag=ETAG))
        for at in range(5):
            assert wanted.acquire(timeout=TIMEOUT)
            connection.sendall(DATA[at : at + 1])
        return True

    with RawServer(answer) as server:
        store = build(HTTPStore, allowed_urls=[server.url])
        blob = store.open(Location(f"{server.url}/i"), caller=WITH_TOKEN)
        for at in range(5):
            wanted.release()
            assert next(blob) == DATA[at : at + 1]
        assert next(blob, b"") == b""
        blob.close()
        store.close()


def test_what_came_is_handed_on_however_little_it_is(tmp_path: Path) -> None:
    """A read that waits for more bytes must return the bytes it has if no more arrive."""
    data = os.urandom(400_000)
    ended: list[bool] = []

    def answer(request: Request, connection: socket.socket) -> bool:
        connection.sendall(head(length=1_000_000, ETag=ETAG))
        for start, stop in ((0, 100), (100, 300_100), (300_100, len(data))):
            connection.sendall(data[start:stop])
            time.sleep(0.05)
        ended.append(closed_by_client(connection, TIMEOUT))
        return False

    with RawServer(answer) as server:
        store = build(HTTPStore, allowed_urls=[server.url])
        store._chunk_size = 1_000_000
        blob = store.open(Location(f"{server.url}/i"), caller=WITH_TOKEN)
        received = b""
        while len(received) < len(data):
            received += next(blob)
        assert received == data
        assert ended == []
        blob.close()
        store.close()


def in_chunks(data: bytes, size: int = 10_000) -> bytes:
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


CHUNKED = head(length=None, ETag=ETAG, Transfer_Encoding="chunked")
UNTIL_CLOSED = head(length=None, ETag=ETAG, Connection="close")


UNKNOWN = {"size": None, "checksum": None}


@pytest.mark.parametrize(
    "end",
    [
        b"",
        b"0",
        b"0000",
        b"0\r\n",
        b"1_0\r\n" + b"x" * 16 + b"\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"+5\r\nhello\r\n0\r\n\r\n",
        b"5\nhello\r\n0\r\n\r\n",
        b"5\r\nhelloXX0\r\n\r\n",
        b"5\r\nhel",
    ],
)
def test_chunks_that_do_not_end_as_they_should(front: Any, end: bytes) -> None:
    """Also if the record has neither size nor checksum."""
    sent = CHUNKED + in_chunks(DATA[:200_000]) + end
    one = front(lambda request, connection: connection.sendall(sent), **UNKNOWN)
    assert one.get() == (200, None)


def test_chunks_as_they_may_be(front: Any) -> None:
    sent = CHUNKED + b"0005;x=y\r\nhello\r\nA \r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n"
    one = front(lambda request, connection: connection.sendall(sent), **UNKNOWN)
    assert one.get() == (200, b"hello0123456789")


@pytest.mark.parametrize("drip", [b"X: y\r\n", b";x"])
def test_chunks_that_drip_within_their_framing(
    front: Any, drip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    one: Front
    clock = clock_of(connections, monkeypatch)

    def answer(request: Request, connection: socket.socket) -> bool:
        connection.sendall(CHUNKED + in_chunks(DATA[: 2 * CHUNK]))
        assert begun.wait(TIMEOUT)
        clock.step = TIMEOUT / 4
        connection.sendall(b"0\r\n" if drip[:1] == b"X" else b"5")
        while True:
            connection.sendall(drip)
            one.server.waits(0.02)

    begun = threading.Event()
    one = front(answer, **UNKNOWN)
    response = one.request()
    begun.set()
    assert response.status_int == 200
    assert one.read(response) is None


@pytest.mark.parametrize(
    "encoding",
    ["chunked ", "chunked\t", "chunked\xa0", "chunked, chunked", "Chunked;x", "identity"],
)
def test_framing_that_http_client_would_not_read(front: Any, encoding: str) -> None:
    sent = head(length=None, ETag=ETAG, Transfer_Encoding=encoding) + in_chunks(DATA) + b"0\r\n\r\n"
    one = front(lambda request, connection: connection.sendall(sent), **UNKNOWN)
    assert one.get()[0] == 502


@pytest.mark.parametrize(
    ("told", "body"),
    [
        ("bytes {start}-149999/*", DATA[100_000:150_000]),
        ("bytes {start}-299999/300000", DATA[100_000:150_000]),
        ("bytes {start}-299999/300000", DATA[100_000:] + b"more"),
    ],
)
def test_resumed_part_is_as_long_as_it_says(front: Any, told: str, body: bytes) -> None:
    """Also if neither the record nor the framing tells the length."""

    def answer(request: Request, connection: socket.socket) -> None:
        if request.start == 0:
            connection.sendall(CHUNKED + in_chunks(DATA[: 2 * CHUNK]))
            return
        told_now = told.format(start=request.start)
        sent = head("206 Partial Content", None, ETag=ETAG, Content_Range=told_now)
        connection.sendall(sent + body[request.start - 100_000 :])

    assert front(answer, **UNKNOWN).get() == (200, None)


@pytest.mark.parametrize("told", ["bytes 10-30/*", "bytes 10-15/*"])
def test_part_of_an_unknown_whole_is_just_that_part(front: Any, told: str) -> None:
    def answer(request: Request, connection: socket.socket) -> None:
        connection.sendall(head("206 Partial Content", None, Content_Range=told) + DATA[10:31])

    assert front(answer).get(Range="bytes=10-20")[0] == 502


def test_resumed_by_md5_as_glance_tells_it(front: Any) -> None:
    def answer(request: Request, connection: socket.socket) -> bool:
        sent = head_for(request).replace(b'ETag: "v1"', b"Content-MD5: abc")
        if request.start == 0:
            connection.sendall(sent + DATA[: 2 * CHUNK])
            return False
        connection.sendall(sent + DATA[request.start :])
        return True

    one = front(answer)
    assert one.get() == (200, DATA)
    assert not {"if-match", "if-unmodified-since"} & one.server.requests[1].headers.keys()


@pytest.mark.parametrize("status", [100, 102, 103])
def test_answer_that_is_none_yet(front: Any, status: int) -> None:
    """Otherwise the next caller would get this caller's answer."""

    def answer(request: Request, connection: socket.socket) -> bool:
        connection.sendall(f"HTTP/1.1 {status} Wait\r\n\r\n".encode())
        return right(request, connection)

    one = front(answer)
    for _ in range(3):
        assert one.get()[0] == (200 if status == 100 else 502)


@pytest.mark.parametrize(
    "headers",
    [
        {"Content_Type": "multipart/mixed; boundary=x"},
        {"Content_Type": "message/rfc822"},
        {"Last_Modified": "Tue, 02 Feb 99999999999999999999 09:34:01 GMT"},
        {"Last_Modified": "Tue, 02 Feb 2010 09:34:01 +99999999999999999999"},
    ],
)
def test_headers_that_mean_nothing_to_us(front: Any, headers: dict[str, Any]) -> None:
    sent = head(ETag=ETAG, **headers) + DATA
    assert front(lambda request, connection: connection.sendall(sent)).get() == (200, DATA)


def test_blanks_after_values(front: Any) -> None:
    def answer(request: Request, connection: socket.socket) -> None:
        told = "bytes 10-20/300000 "
        head_ = head("206 Partial Content", None, Content_Range=told, Content_Length="11 ")
        connection.sendall(head_ + DATA[10:21])

    assert front(answer).get(Range="bytes=10-20") == (206, DATA[10:21])


@pytest.mark.parametrize("kind", ["boundary*=undefined''abc", "boundary*=%00''x"])
def test_headers_that_the_parser_stumbles_at(front: Any, kind: str) -> None:
    sent = head(Content_Type=f"multipart/mixed; {kind}") + DATA
    assert front(lambda request, connection: connection.sendall(sent)).get()[0] in (200, 502)


@pytest.mark.parametrize("size", [len(DATA), None])
@pytest.mark.parametrize(
    "sent",
    [CHUNKED + in_chunks(DATA) + b"0\r\n\r\n", UNTIL_CLOSED + DATA],
    ids=["chunked", "closed"],
)
def test_answers_without_a_length(front: Any, sent: bytes, size: int | None) -> None:
    one = front(lambda request, connection: connection.sendall(sent), size=size)
    response = one.request()
    assert response.headers.get("Content-Length") == (None if size is None else str(size))
    assert b"".join(response.app_iter) == DATA


@pytest.mark.parametrize(
    ("sent", "statuses"),
    [
        (CHUNKED + in_chunks(DATA[:200_000]), (200,)),
        (CHUNKED + in_chunks(DATA[:200_000]) + b"zz\r\n", (200,)),
        (CHUNKED + in_chunks(DATA[:200_000]) + b"-5\r\n", (200,)),
        (CHUNKED + in_chunks(DATA[:200_000]) + b"0\r\n\r\n", (200,)),
        (CHUNKED + b"g\r\n", (503,)),
        (CHUNKED + b"9" * 70_000, (502, 503)),
        (CHUNKED + in_chunks(DATA + b"more") + b"0\r\n\r\n", (200,)),
        (UNTIL_CLOSED + DATA[:200_000], (200,)),
        (UNTIL_CLOSED + DATA + b"more", (200,)),
        (UNTIL_CLOSED + DATA[::-1], (200,)),
        (head(length=len(DATA) - 1) + DATA, (500,)),
        (head(length=len(DATA) + 1) + DATA, (500,)),
        (head(length=0), (500,)),
        (head(length=len(DATA)) + DATA[::-1], (200,)),
    ],
)
@pytest.mark.parametrize("size", [len(DATA), None])
def test_wrong_lengths_and_broken_chunks(
    front: Any, sent: bytes, statuses: tuple[int, ...], size: int | None
) -> None:
    """The server sends the same answer to each retry."""
    one = front(lambda request, connection: connection.sendall(sent), size=size)
    status, body = one.get()
    assert status in (*statuses, 500) or size is None
    assert status != 200 or body is None


def test_more_than_the_length_spoils_no_later_answer(front: Any) -> None:
    answered = threading.Semaphore(0)

    def answer(request: Request, connection: socket.socket) -> bool:
        connection.sendall(head_for(request) + DATA + b"HTTP/1.1 200 OK\r\n\r\nmore")
        answered.release()
        return True

    one = front(answer)
    for _ in range(2):
        assert one.get() == (200, DATA)
        assert answered.acquire(timeout=TIMEOUT)


def test_a_range_answered_with_the_whole(front: Any) -> None:
    def answer(request: Request, connection: socket.socket) -> None:
        connection.sendall(head(ETag=ETAG) + DATA)

    one = front(answer)
    assert one.get(Range="bytes=10-20") == (200, DATA)


def test_resume_answered_with_the_whole(front: Any) -> None:
    def answer(request: Request, connection: socket.socket) -> None:
        connection.sendall(head(ETag=ETAG) + DATA[: 2 * CHUNK])

    assert front(answer).get() == (200, None)


@pytest.mark.parametrize(
    "told",
    [
        "bytes 11-20/300000",
        "bytes 9-20/300000",
        "bytes 10-21/300000",
        "bytes 10-19/300000",
        "bytes 10-20/20",
        "bytes 10-20/5",
        "bytes 10-20",
        "bytes 20-10/300000",
        "bytes */300000",
        "items 10-20/300000",
        "bytes 10-20/300000, bytes 30-40/300000",
        "bytes \N{SUPERSCRIPT TWO}0-20/300000",
        "",
    ],
)
def test_wrong_content_range(front: Any, told: str) -> None:
    def answer(request: Request, connection: socket.socket) -> None:
        sent = head("206 Partial Content", 11, ETag=ETAG, Content_Range=told)
        connection.sendall(sent + DATA[10:21])

    assert front(answer).get(Range="bytes=10-20")[0] == 502


@pytest.mark.parametrize("length", [10, 12])
def test_length_that_is_not_that_of_the_part(front: Any, length: int) -> None:
    def answer(request: Request, connection: socket.socket) -> None:
        told = "bytes 10-20/300000"
        connection.sendall(head("206 Partial Content", length, Content_Range=told) + DATA[10:22])

    assert front(answer).get(Range="bytes=10-20")[0] == 502


def test_range_of_a_size_that_nobody_tells(front: Any) -> None:
    def answer(request: Request, connection: socket.socket) -> None:
        told = "bytes 10-20/*"
        connection.sendall(head("206 Partial Content", 11, Content_Range=told) + DATA[10:21])

    assert front(answer).get(Range="bytes=10-20") == (206, DATA[10:21])


def test_part_that_nobody_asked_for(front: Any) -> None:
    def answer(request: Request, connection: socket.socket) -> None:
        told = f"bytes 0-{len(DATA) - 1}/{len(DATA)}"
        connection.sendall(head("206 Partial Content", Content_Range=told) + DATA)

    assert front(answer).get()[0] == 502


@pytest.mark.parametrize(
    "later", ['"v2"', 'W/"v1"', "", "v1", '"v1" '], ids=["other", "weak", "none", "bare", "blank"]
)
def test_other_etag_at_resume(front: Any, later: str) -> None:
    def answer(request: Request, connection: socket.socket) -> bool:
        if request.start == 0:
            return dropping(2 * CHUNK)(request, connection) or False
        connection.sendall(head_for(request, later) + DATA[request.start :])
        return True

    status, body = front(answer).get()
    # Blanks around a value do not belong to it.
    assert (status, body) == (200, DATA if later.strip() == ETAG else None)


def test_version_is_gone_at_resume(front: Any) -> None:
    def answer(request: Request, connection: socket.socket) -> bool:
        if request.start == 0:
            return dropping(2 * CHUNK)(request, connection) or False
        connection.sendall(head("412 Precondition Failed", 0))
        return True

    one = front(answer)
    assert one.get() == (200, None)
    assert len(one.server.requests) == 2


DATES = {
    "Last_Modified": "Tue, 02 Feb 2010 09:34:01 GMT",
    "Date": "Wed, 03 Feb 2010 09:34:01 GMT",
}


def test_version_by_time_and_length(front: Any) -> None:
    def answer(request: Request, connection: socket.socket) -> bool:
        sent = head_for(request).replace(b'ETag: "v1"', b"Last-Modified: " + MODIFIED)
        sent = sent.replace(b"\r\n\r\n", b"\r\nDate: " + DATES["Date"].encode() + b"\r\n\r\n")
        if request.start:
            connection.sendall(sent + DATA[request.start :])
            return True
        connection.sendall(sent + DATA[: 2 * CHUNK])
        return False

    one = front(answer)
    assert one.get() == (200, DATA)
    assert one.server.requests[1].headers["if-unmodified-since"] == DATES["Last_Modified"]


MODIFIED = DATES["Last_Modified"].encode()


@pytest.mark.parametrize(
    "headers",
    [
        {"ETag": ETAG, "Last_Modified": "Wed, 03 Feb 2010 09:34:00 GMT", "Date": DATES["Date"]},
        {"ETag": ETAG, "Last_Modified": DATES["Last_Modified"]},
        {"ETag": ETAG, "Last_Modified": "yesterday"},
        {"ETag": 'W/"v1"'},
        {"ETag": "v1"},
        {},
    ],
)
def test_what_is_no_version(front: Any, headers: dict[str, Any]) -> None:
    """Servers make ETags of seconds: a file can change twice within one."""

    def answer(request: Request, connection: socket.socket) -> bool:
        connection.sendall(head(**headers) + DATA[: 2 * CHUNK])
        return False

    one = front(answer)
    assert one.get() == (200, None)
    assert len(one.server.requests) == 1


def test_what_cannot_be_reached_says_why() -> None:
    """A refused connection is not reported as a timeout."""
    url = f"http://127.0.0.1:{free_port()}"
    store = build(HTTPStore, allowed_urls=[url])
    with pytest.raises(BackendUnavailable, match="cannot be reached: Connection refused"):
        store.open(Location(f"{url}/i"), caller=WITH_TOKEN)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "x", "identity, gzip"])
def test_encoded_data_is_refused(front: Any, encoding: str) -> None:
    def answer(request: Request, connection: socket.socket) -> None:
        connection.sendall(head(Content_Encoding=encoding) + DATA)

    one = front(answer)
    assert one.get()[0] == 502
    assert one.server.requests[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    "sent",
    [
        b"garbage\r\n\r\n",
        b"\x00\xff" * 1000 + b"\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 99999 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 300 + b"\r\n",  # swiftclient allows 256
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_what_is_not_http(
    front: Any, sent: bytes, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    one = front(
        lambda request, connection: connection.sendall(sent),
        size=None,
        locations=(Location("URL/images/i?signature=s3cret"),),
        checksum=None,
    )
    registry: Any = one.api.backends.registry.backend
    location = Location(f"{one.server.url}/images/i?signature=s3cret")
    registry.put(Image(id="i", status="active", is_public=True, locations=(location,)))
    assert one.get()[0] == 502
    assert "s3cret" not in caplog.text
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("target", ["/images/other", "other", "URL/images/other"])
def test_redirect(front: Any, code: int, target: str) -> None:
    one: Front

    def answer(request: Request, connection: socket.socket) -> bool:
        if request.target == "/images/i":
            where = target.replace("URL", one.server.url)
            connection.sendall(head(f"{code} Over There", 5, Location=where) + b"there")
            return True
        return right(request, connection)

    one = front(answer)
    assert one.get(Range="bytes=10-20") == (206, DATA[10:21])
    assert [request.target for request in one.server.requests] == ["/images/i", "/images/other"]
    assert [request.headers["range"] for request in one.server.requests] == ["bytes=10-20"] * 2


@pytest.mark.parametrize(
    "target",
    [
        "/elsewhere",
        "/imagesx",
        "/images/../elsewhere",
        "/images/%2e%2e/elsewhere",
        "http://127.0.0.2:PORT/images/i",
        "http://localhost:PORT/images/i",
        "https://127.0.0.1:PORT/images/i",
        "ftp://127.0.0.1:PORT/images/i",
        "file:///etc/passwd",
        "//other/images/i",
        "http://127.0.0.1:1/images/i",
        "http://user:password@127.0.0.1:PORT/images/i",
        "",
        "http://[",
    ],
)
def test_redirect_to_where_nobody_may_go(front: Any, target: str) -> None:
    one: Front

    def answer(request: Request, connection: socket.socket) -> bool:
        where = target.replace("PORT", str(one.server.port))
        connection.sendall(head("302 Found", 0, Location=where))
        return True

    one = front(answer)
    assert one.get()[0] == 502
    # An empty reference is the same URL: an endless redirect.
    assert len(one.server.requests) == (1 if target else 6)


def test_redirects_in_a_circle(front: Any) -> None:
    def answer(request: Request, connection: socket.socket) -> bool:
        connection.sendall(head("302 Found", 0, Location=request.target + "x"))
        return True

    one = front(answer)
    assert one.get()[0] == 502
    assert len(one.server.requests) == 6


@pytest.mark.parametrize("auth", ["none", "caller"])
def test_token_is_for_the_templates_server_only(front: Any, tmp_path: Path, auth: str) -> None:
    other = RawServer(right)

    def answer(request: Request, connection: socket.socket) -> bool:
        connection.sendall(head("302 Found", 0, Location=f"{other.url}/images/i"))
        return True

    one = Front(tmp_path, answer, f"auth = {auth}")
    text = one.config.read_text()
    one.api.close()
    one.config.write_text(
        text.replace("/images\nurl_template", f"/images, {other.url}/images\nurl_template")
    )
    with one.server, other:
        api = imageapi.ImageAPI(imageapi.load_config([one.config]))
        registry: Any = api.backends.registry.backend
        registry.put(Image(id="i", status="active", is_public=True, size=len(DATA)))
        one.api = api
        assert one.get() == (200, DATA)
        api.close()
    sent = one.server.requests[0].headers.get("x-auth-token")
    assert sent == ("t0ken" if auth == "caller" else None)
    assert "x-auth-token" not in other.requests[0].headers


@pytest.mark.parametrize(
    ("status", "auth", "answered"),
    [
        (404, "none", 404),
        (410, "none", 404),
        (400, "none", 502),
        (401, "none", 502),
        (403, "none", 502),
        (401, "caller", 403),
        (403, "caller", 403),
        (404, "caller", 404),
        (204, "none", 502),
        (304, "none", 502),
        (300, "none", 502),
        (418, "none", 502),
        (416, "none", 502),
        (412, "none", 503),
        (429, "none", 503),
        (500, "none", 503),
        (503, "none", 503),
        (599, "none", 503),
    ],
)
def test_statuses(front: Any, status: int, auth: str, answered: int) -> None:
    def answer(request: Request, connection: socket.socket) -> bool:
        connection.sendall(head(f"{status} Whatever", 0))
        return True

    assert front(answer, f"auth = {auth}").get()[0] == answered


@pytest.mark.parametrize(
    ("told", "handed_on"),
    [
        ("17", "17"),
        ("0", "0"),
        ("999999999999", "86400"),
        ("Wed, 03 Feb 2010 09:34:01 GMT", "0"),
        ("Fri, 03 Feb 2090 09:34:01 GMT", "86400"),
        ("soon", "30"),
        ("-5", "30"),
        ("", "30"),
    ],
)
def test_retry_after(front: Any, told: str, handed_on: str) -> None:
    def answer(request: Request, connection: socket.socket) -> bool:
        connection.sendall(head("503 Busy", 0, Retry_After=told))
        return True

    response = front(answer).request()
    assert (response.status_int, response.headers["Retry-After"]) == (503, handed_on)


@pytest.mark.parametrize("status", [404, 503])
def test_connection_is_used_again_after_an_error_without_a_body(front: Any, status: int) -> None:
    """It is closed after an error with a body, which is not read."""

    def answer(request: Request, connection: socket.socket) -> bool:
        connection.sendall(head(f"{status} No", 10**9) + b"x" * 1000)
        return closed_by_client(connection, TIMEOUT) and False

    one = front(answer)
    assert one.get()[0] == status
    assert one.server.has_connections(0)


def test_connection_is_used_again(front: Any) -> None:
    ports = []

    def answer(request: Request, connection: socket.socket) -> bool:
        ports.append(connection.getpeername()[1])
        return right(request, connection)

    one = front(answer)
    for _ in range(3):
        assert one.get() == (200, DATA)
    assert len(set(ports)) == 1


def test_connection_that_was_closed_while_it_was_kept(front: Any) -> None:
    """A server may close a kept connection at the moment it is used."""
    asked = [0]

    def answer(request: Request, connection: socket.socket) -> bool:
        asked[0] += 1
        # It reads the second request, and does not answer.
        return asked[0] != 2 and right(request, connection)

    one = front(answer)
    assert one.get() == (200, DATA)
    assert one.get() == (200, DATA)
    assert asked == [3]


@pytest.mark.parametrize("chunks", [0, 1, 2])
def test_client_that_leaves(front: Any, chunks: int) -> None:
    """The connection to the server is closed at once, and the rest is not read."""
    sent = [0]
    closed: list[bool] = []

    def answer(request: Request, connection: socket.socket) -> bool:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        connection.sendall(head(length=10**9, ETag=ETAG))
        try:
            while sent[0] < 10**9:
                sent[0] += connection.send(b"x" * 65536)
        except OSError:
            closed.append(True)
        return False

    one = front(answer, size=10**9, checksum=None)
    response = one.request()
    for _ in range(chunks):
        next(iter(response.app_iter))
    response.app_iter.close()
    assert one.server.has_connections(0)
    assert closed == [True]
    assert sent[0] < 20_000_000


def test_client_that_leaves_a_real_server(tmp_path: Path) -> None:
    """The same with ``imageapi serve``. Both sides count connections."""
    sent = [0]

    def answer(request: Request, connection: socket.socket) -> bool:
        if request.target.startswith("/records"):
            record = b'{"status": "active", "is_public": true, "size": 1000000000}'
            connection.sendall(head(length=len(record)) + record)
            return True
        connection.sendall(head(length=10**9, ETag=ETAG))
        while sent[0] < 10**9:
            sent[0] += connection.send(b"x" * 65536)
        return False

    with RawServer(answer) as server:
        config = tmp_path / "front.conf"
        text = CONFIG.format(chunk=CHUNK, url=server.url, timeout=TIMEOUT, more="")
        endpoint = f"[imageapi_registry_http]\nendpoint = {server.url}/records\n"
        config.write_text(text.replace("registry = memory", "registry = http") + endpoint)
        with serving(config) as port:
            for _ in range(5):
                with socket.create_connection(("127.0.0.1", port), TIMEOUT) as client:
                    client.sendall(b"GET /v1/images/i HTTP/1.1\r\nHost: x\r\n\r\n")
                    received = 0
                    while received < 1_000_000:
                        received += len(client.recv(65536))
            # The connection for records is kept.
            assert server.has_connections(1)
    assert sent[0] < 5 * 20_000_000


def test_server_that_is_not_there(front: Any) -> None:
    one = front(right)
    one.server.__exit__()
    response = one.request()
    assert response.status_int == 503
    one.server = RawServer(right)


def test_head_of_an_image_asks_nobody(front: Any) -> None:
    one = front(right)
    request = webob.Request.blank("/v1/images/i", method="HEAD")
    assert request.send(one.api).status_int == 200
    assert one.server.requests == []


def test_blob_goes_on_raising(front: Any) -> None:
    """A Blob that broke off raises at each further read, and never ends."""
    one = front(lambda request, connection: connection.sendall(WHOLE_HEAD + DATA[:100]))
    store = one.api.backends.stores[0].backend
    blob = store.open(store.locate("i"), caller=WITH_TOKEN)
    for _ in range(3):
        with pytest.raises(BackendUnavailable):
            list(blob)
    blob.close()


def test_blob_that_another_thread_closes(front: Any) -> None:
    def answer(request: Request, connection: socket.socket) -> bool:
        connection.sendall(WHOLE_HEAD)
        return closed_by_client(connection, TIMEOUT) and False

    one = front(answer)
    store = one.api.backends.stores[0].backend
    blob = store.open(store.locate("i"), caller=WITH_TOKEN)
    ended: list[object] = []

    def read() -> None:
        try:
            ended.append(next(blob))
        except (BackendError, StopIteration) as error:
            ended.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    wait_until(lambda: receives(thread), "the thread does not read")
    blob.close()
    thread.join(TIMEOUT / 2)
    assert not thread.is_alive()
    assert isinstance(ended[0], BackendError | StopIteration)
    with pytest.raises((BackendError, StopIteration)):
        next(blob)


def test_blob_that_another_thread_closes_as_data_comes(
    front: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reading thread gets this data and reads no more. The socket is closed."""
    one = front(sending(WHOLE_HEAD + DATA[:CHUNK]))
    store = one.api.backends.stores[0].backend
    blob = store.open(store.locate("i"), caller=WITH_TOKEN)
    received, closed = threading.Event(), threading.Event()
    receive = connections._Received._receive_into

    def receive_and_wait(self: Any, buffer: Any) -> int:
        count = receive(self, buffer)
        received.set()
        assert closed.wait(TIMEOUT)
        return count

    monkeypatch.setattr(connections._Received, "_receive_into", receive_and_wait)
    chunks: list[bytes] = []
    thread = threading.Thread(target=lambda: chunks.append(next(blob)))
    thread.start()
    assert received.wait(TIMEOUT)
    blob.close()
    closed.set()
    thread.join(TIMEOUT)
    assert DATA.startswith(chunks[0])
    own = psutil.Process().net_connections("tcp")
    assert not [to for to in own if to.raddr and to.raddr.port == one.server.port]


def sending(data: bytes) -> Responder:
    """Sends these bytes, and waits until the client closes the connection."""

    def answer(request: Request, connection: socket.socket) -> bool:
        connection.sendall(data)
        return closed_by_client(connection, TIMEOUT) and False

    return answer


def receives(thread: threading.Thread) -> bool:
    """Whether a thread waits for data in the library."""
    frame = sys._current_frames().get(thread.ident or 0)
    return frame is not None and frame.f_code is connections._Received._receive_into.__code__


@pytest.mark.parametrize("status", [429, 500, 503])
def test_check_of_a_server_in_trouble(front: Any, status: int) -> None:
    def answer(request: Request, connection: socket.socket) -> bool:
        connection.sendall(head(f"{status} No", 0))
        return True

    one = front(answer)
    with pytest.raises(BackendUnavailable, match=str(status)):
        one.api.backends.stores[0].backend.check()


def test_check_closes_its_connection(front: Any) -> None:
    one = front(right)
    one.api.backends.stores[0].backend.check()
    assert one.server.has_connections(0)


def test_empty_range(front: Any) -> None:
    one = front(right)
    store = one.api.backends.stores[0].backend
    with pytest.raises(RangeNotSupported):
        store.open(store.locate("i"), start=5, stop=5, caller=WITH_TOKEN)


def test_range_that_is_said_to_be_past_the_end_but_is_not(front: Any) -> None:
    told = head("416 Range Not Satisfiable", 0, Content_Range="bytes */300000")
    one = front(lambda request, connection: connection.sendall(told))
    assert one.get(Range="bytes=10-20")[0] == 502


def test_kept_connection_is_not_used_by_a_forked_child(front: Any) -> None:
    ports = []

    def answer(request: Request, connection: socket.socket) -> bool:
        ports.append(connection.getpeername()[1])
        return right(request, connection)

    one = front(answer)
    assert one.get() == (200, DATA)
    child = os.fork()
    if child == 0:
        os._exit(0 if one.get() == (200, DATA) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert one.get() == (200, DATA)
    assert ports[0] == ports[2] != ports[1]


def test_failover_to_another_server(front: Any) -> None:
    def answer(request: Request, connection: socket.socket) -> bool:
        if request.target == "/images/broken":
            connection.sendall(head("500 Broken", 0))
            return True
        return right(request, connection)

    one = front(answer)
    registry: Any = one.api.backends.registry.backend
    places = tuple(Location(f"{one.server.url}/images/{name}") for name in ("broken", "whole"))
    registry.put(Image(id="i", status="active", is_public=True, size=len(DATA), locations=places))
    assert one.get() == (200, DATA)


@pytest.mark.parametrize(
    ("options", "problems"),
    [
        ({"url_template": "http://x/images/"}, ["url_template: must contain {image_id}"]),
        (
            {"url_template": "http://x/other/{image_id}?s3cret"},
            ["url_template: http://x/other/x is not below any of allowed_urls"],
        ),
        (
            {"url_template": "ftp://x/{image_id}"},
            ["url_template: invalid URL: it is not an http: or https: URL"],
        ),
        (
            {"allowed_urls": ["http://user:s3cret@x", "http://x", "http://x/?s3cret"]},
            [
                "allowed_urls: entry 1: it must not contain credentials",
                "allowed_urls: entry 3: it must not have a query",
            ],
        ),
    ],
)
def test_options_that_cannot_work(options: dict[str, Any], problems: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        build(HTTPStore, **{"allowed_urls": ["http://x/images"], **options})
    assert list(caught.value.problems) == problems


@pytest.mark.parametrize("path", ["/elsewhere/i", "/imagesx", "/images/../elsewhere"])
def test_location_that_is_not_allowed_is_never_connected_to(front: Any, path: str) -> None:
    one = front(right)
    store = one.api.backends.stores[0].backend
    with pytest.raises(LocationRefused):
        store.open(Location(f"{one.server.url}{path}"), caller=WITH_TOKEN)
    assert one.server.requests == []
    assert one.server.has_connections(0)


def test_record_must_name_a_location_where_there_is_no_template() -> None:
    with pytest.raises(LocationRefused, match="set url_template"):
        build(HTTPStore, allowed_urls=["http://x"]).locate("i")
