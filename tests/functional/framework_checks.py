# SPDX-License-Identifier: Apache-2.0
"""The checks of each example for a framework: one for each column of docs/frameworks.md."""

import hashlib
import http.client
import os
from collections.abc import Callable, Mapping
from urllib.parse import quote

from webob import Response

from tests.deployment import get
from tests.functional.examples import RunningExample
from tests.functional.frameworks import ALONE, BIG_SIZE, GIVEN, IMAGE, ROWS, Bench, Row
from tests.functional.http_client import Answer


def _get(bench: Bench, served: RunningExample, row: Row) -> None:
    """Headers and data are those of imageapi, and the site's own page still works."""
    for image_id in ("plain", quote(IMAGE)):
        path = row.path + image_id
        answer = served.ask(path)
        _has_headers_of(answer, get(bench.api, f"/v1/images/{image_id}"), served, path)
        assert answer.status == 200
        assert answer.body == GIVEN
    assert served.holds_images(False)
    if row.way != ALONE:
        assert b"the site" in served.ask("/").body


def _head(bench: Bench, served: RunningExample, row: Row) -> None:
    path = row.path + quote(IMAGE)
    answer = served.ask(path, "HEAD")
    expected = get(bench.api, f"/v1/images/{quote(IMAGE)}", "HEAD")
    _has_headers_of(answer, expected, served, path)
    assert answer.status == 200
    head, end, body = served.raw(path, "HEAD").partition(b"\r\n\r\n")
    assert (head.split(b" ")[1], end, body) == (b"200", b"\r\n\r\n", b"")
    # HEAD opens no data: this image has none.
    assert served.ask(row.path + "record-only", "HEAD").headers["content-length"] == "5"
    assert served.holds_images(False)


def _has_headers_of(answer: Answer, expected: Response, served: RunningExample, path: str) -> None:
    headers = {name.lower(): value for name, value in expected.headerlist}
    headers["x-image-meta-uri"] = f"http://127.0.0.1:{served.port}{path}"
    ours = {
        name
        for name in map(str.lower, answer.headers)
        if name.startswith("x-image") or name in headers
    }
    assert {name: answer.headers[name] for name in ours} == headers
    assert not {"transfer-encoding", "content-encoding"} & set(map(str.lower, answer.headers))


def _range(bench: Bench, served: RunningExample, row: Row) -> None:
    path, size = row.path + quote(IMAGE), len(GIVEN)
    for wanted, first, last in (
        ("bytes=0-0", 0, 0),
        ("bytes=1000000-1999999", 1_000_000, 1_999_999),
        ("bytes=-5", size - 5, size - 1),
    ):
        answer = served.ask(path, Range=wanted)
        assert (answer.status, answer.body) == (206, GIVEN[first : last + 1])
        assert answer.headers["content-range"] == f"bytes {first}-{last}/{size}"
        assert answer.headers["content-length"] == str(last + 1 - first)
    answer = served.ask(path, Range=f"bytes={size}-")
    assert (answer.status, answer.headers["content-range"]) == (416, f"bytes */{size}")
    assert served.holds_images(False)


def _conditions(bench: Bench, served: RunningExample, row: Row) -> None:
    path, checksum = row.path + quote(IMAGE), hashlib.md5(GIVEN, usedforsecurity=False).hexdigest()
    for etag in (checksum, f'"{checksum}"'):
        answer = served.ask(path, If_None_Match=etag)
        assert (answer.status, answer.headers["etag"], answer.body) == (304, checksum, b"")
        assert "content-type" not in answer.headers
        assert served.ask(path, If_Match=etag).body == GIVEN
    assert served.ask(path, If_Match='"other"').status == 412
    assert served.holds_images(False)


def _refuses(bench: Bench, served: RunningExample, row: Row, image_id: str, status: int) -> None:
    answer = served.ask(row.path + image_id)
    expected = get(bench.api, f"/v1/images/{image_id}")
    assert answer.status == expected.status_code == status
    assert answer.headers["content-type"] == expected.headers["Content-Type"]
    assert answer.headers["content-length"] == str(len(answer.body))
    assert answer.body == expected.body
    assert served.holds_images(False)


def _forbidden(bench: Bench, served: RunningExample, row: Row) -> None:
    _refuses(bench, served, row, "restricted", 403)
    assert served.ask(row.path + "restricted", "HEAD").status == 200


def _not_found(bench: Bench, served: RunningExample, row: Row) -> None:
    _refuses(bench, served, row, "absent", 404)
    _refuses(bench, served, row, "private", 404)
    assert served.ask(row.path + "absent", "HEAD").status == 404


def _caller(bench: Bench, served: RunningExample, row: Row) -> None:
    """The host's own identity arrives; what only a header claims does not."""
    assert served.ask(row.path + "private", user="alice").body == GIVEN
    assert served.ask(row.path + "restricted", user="alice").body == GIVEN
    assert served.ask(row.path + "private", user="bob").status == 404
    assert served.ask(row.path + "restricted", user="bob").status == 403
    forged = {"X_User_Id": "alice", "X_Project_Id": "alice", "Remote_User": "alice"}
    answer = served.ask(row.path + "private", X_Identity_Status="Confirmed", **forged)
    assert answer.status == 404


def _leaves(bench: Bench, served: RunningExample, row: Row) -> None:
    """The data is open while a client reads, and is closed when the client leaves."""
    with served.asking(row.path + "big") as response:
        assert response.read(100_000) == bytes(100_000)
        assert served.holds_images(True)
    assert served.holds_images(False)
    for method in ("GET", "HEAD"):
        served.leave(row.path + "big", method)
        # The server has handled it before it answers the next request.
        assert served.ask(row.path + "big", "HEAD").status == 200
        assert served.holds_images(False)


def _broken_off(bench: Bench, served: RunningExample, row: Row) -> None:
    """Corrupt or truncated data: the body ends before its Content-Length."""
    # Each row has its own image, because wrong data is refused for a minute.
    image_id = f"corrupt-{ROWS.index(row)}"
    bench.deployment.add(image_id, GIVEN, checksum="0" * 32)
    with served.asking(row.path + image_id) as response:
        _is_broken(response, len(GIVEN))
    image_id = f"shrinks-{ROWS.index(row)}"
    bench.add_zeros(image_id)
    with served.asking(row.path + image_id) as response:
        response.read(100_000)
        os.truncate(bench.deployment.data_path(image_id), BIG_SIZE // 2)
        _is_broken(response, BIG_SIZE)
    assert served.holds_images(False)


def _is_broken(response: http.client.HTTPResponse, length: int) -> None:
    assert response.status == 200
    assert response.getheader("Content-Length") == str(length)
    try:
        response.read()
    except (http.client.IncompleteRead, ConnectionResetError):
        return
    raise AssertionError("the body was complete")


COLUMNS: Mapping[str, Callable[[Bench, RunningExample, Row], None]] = {
    "GET": _get,
    "HEAD": _head,
    "range": _range,
    "304, 412": _conditions,
    "403": _forbidden,
    "404": _not_found,
    "caller": _caller,
    "client leaves: closed": _leaves,
    "corrupt: broken off": _broken_off,
}
