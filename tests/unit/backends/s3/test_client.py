# SPDX-License-Identifier: Apache-2.0
import hashlib
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from urllib3.response import HTTPResponse

from imageapi.backends.http_client.client import NotReached
from imageapi.backends.s3.client import refuse
from imageapi.backends.s3.credentials import Credentials, Keys
from imageapi.errors import BackendError, BackendUnavailable, BadReply
from tests.unit.backends.s3.answered_client import AnsweredS3, s3_error
from tests.unit.backends.upstream import response


def test_a_request_is_signed_with_its_headers(answered_s3: AnsweredS3) -> None:
    answered_s3.answers = [response(200)]
    answered_s3.client.request("GET", "images", "/a", {"If-Match": '"1"'})
    (sent,) = answered_s3.sent
    assert sent.url == "http://s3/images/a"
    signature = sent.headers["Authorization"]
    assert signature.startswith("AWS4-HMAC-SHA256 Credential=key/")
    assert "/us-east-1/s3/aws4_request" in signature
    assert "SignedHeaders=host;if-match;x-amz-content-sha256;x-amz-date" in signature
    assert "s3cret" not in str(sent)


def test_a_body_is_sent_again_at_a_retry(answered_s3: AnsweredS3) -> None:
    body = b"x" * 200_000
    answered_s3.answers = [NotReached("down"), s3_error(503, "SlowDown"), response(200)]
    answered_s3.client.request("PUT", "images", "/a", body=body)
    assert [sent.body for sent in answered_s3.sent] == [body] * 3
    assert {sent.headers["Content-Length"] for sent in answered_s3.sent} == {"200000"}
    assert answered_s3.slept == [0.5, 0.5]


def test_retries_are_bounded(answered_s3: AnsweredS3) -> None:
    answered_s3.answers = [s3_error(503, "SlowDown") for _ in range(5)]
    answer = answered_s3.client.request("GET", "images", "/a")
    assert (answer.response.status, answer.code) == (503, "SlowDown")
    assert answered_s3.slept == [0.5, 1, 2]
    answered_s3.answers = [NotReached("down")] * 5
    with pytest.raises(NotReached):
        answered_s3.client.request("GET", "images", "/a")


def test_a_body_is_signed_with_its_hash_over_tls_too(monkeypatch: pytest.MonkeyPatch) -> None:
    s3 = AnsweredS3(monkeypatch, endpoint_url="https://s3")
    s3.answers = [response(200)]
    s3.client.request("PUT", "images", "/a", body=b"data")
    assert s3.sent[0].headers["X-Amz-Content-SHA256"] == hashlib.sha256(b"data").hexdigest()
    s3.store.close()


class Found(Credentials):
    """Credentials that are replaced when they are refused."""

    def __init__(self) -> None:
        self.number = 1

    def get(self) -> Keys:
        return Keys(f"key{self.number}", "secret", "token")

    def renew(self, used: Keys) -> bool:
        self.number += 1
        return True


@pytest.mark.parametrize("code", ["ExpiredToken", "SignatureDoesNotMatch", "AccessDenied"])
def test_outdated_credentials_are_renewed_once(answered_s3: AnsweredS3, code: str) -> None:
    answered_s3.client._credentials = Found()
    answered_s3.answers = [s3_error(403, code), s3_error(403, code)]
    assert answered_s3.client.request("GET", "images", "/a").code == code
    tries = 1 if code == "AccessDenied" else 2
    assert len(answered_s3.sent) == tries
    assert f"key{tries}" in answered_s3.sent[-1].headers["Authorization"]
    assert answered_s3.sent[0].headers["X-Amz-Security-Token"] == "token"


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (s3_error(403, "AccessDenied"), BadReply, "403: these credentials do not allow it"),
        (s3_error(403, "SignatureDoesNotMatch"), BadReply, "403: a key is wrong"),
        (s3_error(301, "PermanentRedirect"), BadReply, "301: check region_name and endpoint_url"),
        (s3_error(403, "InvalidObjectState"), BadReply, "403: the object is archived"),
        (s3_error(404, "NoSuchBucket"), BackendUnavailable, "404: the bucket does not exist"),
        (s3_error(429, "Unknown"), BackendUnavailable, "status 429$"),
        (response(403, b"no XML"), BadReply, "status 403$"),
        (s3_error(403, "RequestTimeTooSkewed"), BadReply, "of the server: synchronize it$"),
        (s3_error(403, "RequestTimeTooSkewed", Date="x"), BadReply, "the server: synchronize it$"),
    ],
)
def test_an_error_says_what_to_do(
    answered_s3: AnsweredS3, answer: HTTPResponse, error: type[BackendError], message: str
) -> None:
    answered_s3.answers = [answer]
    with pytest.raises(error, match=message) as caught:
        refuse(answered_s3.client.request("GET", "images", "/a"))
    assert "told" not in str(caught.value)


def test_a_skewed_clock_is_told_by_how_much(answered_s3: AnsweredS3) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(hours=1))
    answered_s3.answers = [s3_error(403, "RequestTimeTooSkewed", Date=date)]
    with pytest.raises(BadReply, match=r"the server by 3[56][0-9]{2} s: synchronize it"):
        refuse(answered_s3.client.request("GET", "images", "/a"))


def test_the_size_of_an_unsatisfiable_range_is_taken_from_the_body(
    answered_s3: AnsweredS3,
) -> None:
    size = "<ActualObjectSize>7</ActualObjectSize>"
    for headers in ({}, {"Content_Range": "bytes */7"}):
        answered_s3.answers = [s3_error(416, "InvalidRange", size, **headers)]
        answer = answered_s3.client.request("GET", "images", "/a")
        assert answer.response.headers["Content-Range"] == "bytes */7"


def test_an_error_that_does_not_end_is_not_waited_for(
    answered_s3: AnsweredS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered_s3.client._timeout = -1
    answered_s3.answers = [s3_error(404, "NoSuchKey")]
    with pytest.raises(BackendUnavailable, match="timed out while receiving"):
        answered_s3.client.request("GET", "images", "/a")


def test_without_keys_botocore_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "from-env")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    keys: dict[str, Any] = {"access_key": None, "secret_key": None}
    s3 = AnsweredS3(monkeypatch, **keys)
    s3.answers = [response(200)]
    s3.client.request("GET", "images", "/a")
    assert "Credential=from-env/" in s3.sent[0].headers["Authorization"]
    s3.store.close()
