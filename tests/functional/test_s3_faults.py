# SPDX-License-Identifier: Apache-2.0
"""The S3 store with a server whose faults no real server can be made to show.

Its errors have the form of Amazon's.  How responses are read is the HTTP client's part,
which test_http_faults.py shows.
"""

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from imageapi.backends.http_client import retries
from tests.functional.raw_server import RawServer, Request, Responder, closed_by_client
from tests.functional.test_http_faults import (
    BORDERS,
    CHUNK,
    DATA,
    SHORT,
    Front,
    dropping,
    fronts_in,
    head,
    head_for,
    right,
)

SECRET = "s3cret-key"


class S3Front(Front):
    """imageapi with one image, whose data a raw server sends that plays S3."""

    template = f"""\
[imageapi]
registry = memory
stores = s3
policy = visible
chunk_size = {{chunk}}
unsafe_images = serve
[imageapi_store_s3]
endpoint_url = {{url}}
bucket = images
access_key = key
secret_key = {SECRET}
read_timeout = {{timeout}}
connect_timeout = {{timeout}}
{{more}}
"""


@pytest.fixture
def s3_front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Front]]:
    """Makes an S3Front that never sleeps."""
    monkeypatch.setattr(retries, "time", SimpleNamespace(sleep=lambda _: None))
    with fronts_in(tmp_path, S3Front) as make:
        yield make


def amazon(status: str, code: str, more: str = "", **headers: Any) -> Responder:
    """Sends an error as Amazon's S3 does, in chunks."""
    body = f"<?xml version='1.0'?>\n<Error><Code>{code}</Code><Message>{SECRET}</Message>{more}"
    body += f"<RequestId>{SECRET}</RequestId></Error>"

    def answer(_request: Request, connection: socket.socket) -> bool:
        lines = head(status, None, Transfer_Encoding="chunked", **headers)
        connection.sendall(lines + f"{len(body):x}\r\n{body}\r\n0\r\n\r\n".encode())
        return True

    return answer


def by_turns(*answers: Responder) -> Responder:
    """Each answer once, the last one from then on."""
    left = list(answers)

    def answer(request: Request, connection: socket.socket) -> bool | None:
        return (left.pop(0) if len(left) > 1 else left[0])(request, connection)

    return answer


SLOW_DOWN = amazon("503 Slow Down", "SlowDown")


@pytest.mark.parametrize("at", BORDERS)
def test_dropped_once_is_resumed_with_the_etag(s3_front: Any, at: int) -> None:
    front = s3_front(dropping(at))
    assert front.get() == (200, DATA)
    resumed = front.server.requests[-1].headers
    if at:
        assert resumed["if-match"] == '"v1"'
        assert resumed["range"].startswith("bytes=")
    assert "if-match" in resumed["authorization"] or not at
    assert all(SECRET not in str(one.headers) for one in front.server.requests)


def test_truncated_for_ever_is_broken_off(s3_front: Any) -> None:
    front = s3_front(dropping(CHUNK + 1, 100))
    assert front.get() == (200, None)
    assert len(front.server.requests) < 20


@pytest.mark.parametrize(
    ("answer", "status", "message"),
    [
        (amazon("404 Not Found", "NoSuchKey"), 404, "answers with status 404"),
        (amazon("404 Not Found", "NoSuchBucket"), 503, "the bucket does not exist"),
        (amazon("403 Forbidden", "AccessDenied"), 502, "these credentials do not allow it"),
        (amazon("403 Forbidden", "InvalidAccessKeyId"), 502, "does not know the access key"),
        (amazon("403 Forbidden", "RequestTimeTooSkewed"), 502, "synchronize it"),
        (amazon("301 Moved", "PermanentRedirect"), 502, "check region_name and endpoint_url"),
        (amazon("400 Bad", "AuthorizationHeaderMalformed"), 502, "check region_name"),
        (SLOW_DOWN, 503, "answers with status 503"),
        (amazon("500 Wrong", "InternalError"), 503, "answers with status 500"),
    ],
)
def test_errors_before_the_first_byte(
    s3_front: Any,
    caplog: pytest.LogCaptureFixture,
    answer: Responder,
    status: int,
    message: str,
) -> None:
    front = s3_front(answer)
    response = front.request()
    assert response.status_int == status
    assert ("Retry-After" in response.headers) == (status == 503)
    assert message in caplog.text
    assert SECRET not in caplog.text + response.text


@pytest.mark.parametrize(
    "error",
    [
        amazon("412 Precondition Failed", "PreconditionFailed"),
        amazon("404 Not Found", "NoSuchKey"),
        amazon("404 Not Found", "NoSuchBucket"),
        amazon("403 Forbidden", "InvalidAccessKeyId"),
        lambda request, connection: connection.sendall(head_for(request, '"v2"') + b"x") or False,
    ],
    ids=["replaced", "removed", "bucket gone", "credentials revoked", "other etag"],
)
def test_errors_in_the_middle_break_the_body_off(s3_front: Any, error: Responder) -> None:
    front = s3_front(by_turns(dropping(3 * CHUNK), error))
    assert front.get() == (200, None)


def test_throttled_in_the_middle_the_client_notices_nothing(s3_front: Any) -> None:
    front = s3_front(by_turns(dropping(CHUNK), SLOW_DOWN, SLOW_DOWN, right))
    assert front.get() == (200, DATA)
    assert len(front.server.requests) == 4


def test_throttled_for_ever_has_bounded_retries(s3_front: Any) -> None:
    front = s3_front(SLOW_DOWN)
    response = front.request()
    assert (response.status_int, response.headers["Retry-After"]) == (503, "30")
    assert len(front.server.requests) == 4


def test_a_frozen_server_is_a_503_within_the_timeout(s3_front: Any) -> None:
    front = s3_front(lambda _, connection: not closed_by_client(connection, 60), SHORT)
    response = front.request()
    assert (response.status_int, "Retry-After" in response.headers) == (503, True)


def test_a_server_that_freezes_in_the_middle_is_asked_for_the_rest(s3_front: Any) -> None:
    def freeze(request: Request, connection: socket.socket) -> None:
        connection.sendall(head_for(request) + DATA[:CHUNK])
        closed_by_client(connection, 60)

    front = s3_front(by_turns(freeze, right), SHORT)
    assert front.get() == (200, DATA)


def test_an_error_that_drips_is_not_waited_for(s3_front: Any) -> None:
    def drip(request: Request, connection: socket.socket) -> None:
        connection.sendall(head("404 Not Found", 100_000))
        while True:
            connection.sendall(b"x")
            front.server.waits(0.05)

    front = s3_front(drip, SHORT)
    assert front.request().status_int == 503


@pytest.fixture
def metadata_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Responder], RawServer]]:
    """Runs a metadata service, and makes it the only source of credentials of botocore."""
    for name in [one for one in os.environ if one.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "absent"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "absent"))
    monkeypatch.setenv("AWS_METADATA_SERVICE_TIMEOUT", "60")
    with ExitStack() as stack:

        def run(answer: Responder) -> RawServer:
            service = stack.enter_context(RawServer(answer))
            monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", service.url)
            return service

        yield run


class KeylessFront(S3Front):
    """Without keys in its configuration."""

    template = S3Front.template.replace(f"access_key = key\nsecret_key = {SECRET}\n", "")


def test_keys_of_a_metadata_service(
    tmp_path: Path, metadata_service: Callable[[Responder], RawServer]
) -> None:
    def answer(request: Request, connection: socket.socket) -> bool:
        expires = (datetime.now(UTC) + timedelta(hours=6)).isoformat()
        keys = {"AccessKeyId": "role-key", "SecretAccessKey": SECRET, "Token": "role-token"}
        body = "session"
        if request.target.endswith("/security-credentials/"):
            body = "role"
        elif request.target.endswith("/role"):
            body = json.dumps({"Code": "Success", "Expiration": expires, **keys})
        connection.sendall(head(length=len(body)) + body.encode())
        return True

    service = metadata_service(answer)
    with fronts_in(tmp_path, KeylessFront) as make:
        front = make(right)
        assert front.get() == (200, DATA)
        assert front.get() == (200, DATA)
        for request in front.server.requests:
            assert "Credential=role-key/" in request.headers["authorization"]
            assert request.headers["x-amz-security-token"] == "role-token"
    assert len(service.requests) == 3


def test_a_metadata_service_that_hangs_is_a_503_within_the_timeout(
    tmp_path: Path,
    metadata_service: Callable[[Responder], RawServer],
    caplog: pytest.LogCaptureFixture,
) -> None:
    ended = threading.Event()

    def hang(_request: Request, _connection: socket.socket) -> bool:
        ended.wait(60)
        return False

    metadata_service(hang)
    with fronts_in(tmp_path, KeylessFront) as make:
        front = make(right, SHORT)
        for _ in range(3):
            response = front.request()
            assert (response.status_int, "Retry-After" in response.headers) == (503, True)
        assert front.server.requests == []
        backend: Any = front.api.backends.stores[0].backend
        search = backend.client._credentials._search
        ended.set()
        search.result.result(60)
    assert "botocore has found no credentials in time" in caplog.text


def test_a_range_after_the_end_of_data_of_unknown_size(s3_front: Any) -> None:
    """Amazon's 416 names the size in its body only, and no ETag."""
    size = f"<ActualObjectSize>{len(DATA)}</ActualObjectSize>"
    front = s3_front(amazon("416 Range", "InvalidRange", size))
    store = front.api.backends.stores[0].backend
    blob = store.open(store.locate("i"), start=len(DATA), caller=None)
    assert (list(blob), blob.total_size) == ([], len(DATA))
