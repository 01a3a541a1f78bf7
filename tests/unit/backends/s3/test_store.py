# SPDX-License-Identifier: Apache-2.0
import pytest
from urllib3.response import HTTPResponse

from imageapi.backends.base import Blob
from imageapi.caller import ANONYMOUS
from imageapi.errors import (
    BackendError,
    BackendUnavailable,
    BadReply,
    DataChanged,
    DataNotFound,
    LocationRefused,
)
from imageapi.image import Location
from tests.unit.backends.s3.answered_client import AnsweredS3, s3_error
from tests.unit.backends.upstream import response

MULTIPART = '"0123456789abcdef0123456789abcdef-2"'


def opened_object(
    s3: AnsweredS3, answer: HTTPResponse, start: int = 0, version: str | None = None
) -> Blob:
    s3.answers = [answer]
    return s3.store.open(s3.store.locate("i"), start=start, version=version, caller=ANONYMOUS)


def test_the_version_is_the_etag_and_a_condition_of_the_next_request(
    answered_s3: AnsweredS3,
) -> None:
    blob = opened_object(answered_s3, response(200, b"data", ETag=MULTIPART, Content_Length=4))
    assert (blob.version, blob.total_size, b"".join(blob)) == (MULTIPART, 4, b"data")
    part = response(206, b"ta", ETag=MULTIPART, Content_Range="bytes 2-3/4", Content_Length=2)
    assert b"".join(opened_object(answered_s3, part, 2, MULTIPART)) == b"ta"
    headers = answered_s3.sent[-1].headers
    assert (headers["If-Match"], headers["Range"]) == (MULTIPART, "bytes=2-")


@pytest.mark.parametrize("etag", ["", 'W/"1"', "1", '""'])
def test_what_is_no_strong_etag_is_no_version(answered_s3: AnsweredS3, etag: str) -> None:
    blob = opened_object(answered_s3, response(200, b"data", ETag=etag, Content_Length=4))
    assert blob.version is None
    blob.close()
    with pytest.raises(DataChanged, match="not made by this store"):
        opened_object(answered_s3, response(200), 0, etag or "x")


def test_a_range_after_the_end_has_the_version_of_the_request(answered_s3: AnsweredS3) -> None:
    answer = s3_error(416, "InvalidRange", "<ActualObjectSize>4</ActualObjectSize>")
    blob = opened_object(answered_s3, answer, 4, MULTIPART)
    assert (list(blob), blob.total_size, blob.version) == ([], 4, MULTIPART)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (s3_error(404, "NoSuchKey"), DataNotFound),
        (s3_error(404, "NoSuchBucket"), BackendUnavailable),
        (s3_error(403, "AccessDenied"), BadReply),
        (s3_error(412, "PreconditionFailed"), DataChanged),
        (s3_error(429, "SlowDown"), BackendUnavailable),
    ],
)
def test_errors(answered_s3: AnsweredS3, answer: HTTPResponse, error: type[BackendError]) -> None:
    with pytest.raises(BackendError) as caught:
        opened_object(answered_s3, answer)
    assert type(caught.value) is error


def test_only_allowed_buckets_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    s3 = AnsweredS3(monkeypatch, allowed_buckets=["others"])
    for url in ("s3://others/i", "s3://images/i", "s3+https://u:p@foreign/others/i"):
        s3.answers = [response(200, b"data", Content_Length=4)]
        s3.store.open(Location(url), caller=ANONYMOUS).close()
    assert [sent.url for sent in s3.sent] == [
        "http://s3/others/i",
        "http://s3/images/i",
        "http://s3/others/i",
    ]
    with pytest.raises(LocationRefused, match="not in allowed_buckets"):
        s3.store.open(Location("s3://foreign/i"), caller=ANONYMOUS)
    assert len(s3.sent) == 3
    s3.store.close()


def test_check_names_the_bucket_and_says_what_to_do(answered_s3: AnsweredS3) -> None:
    answered_s3.answers = [response(200)]
    assert answered_s3.store.check() == "bucket images at http://s3/images/"
    assert answered_s3.sent[0].url == "http://s3/images/?list-type=2&max-keys=1"
    answered_s3.answers = [s3_error(404, "NoSuchBucket")]
    with pytest.raises(BackendError, match="the bucket does not exist: create it"):
        answered_s3.store.check()
    answered_s3.answers = [s3_error(403, "AccessDenied")]
    with pytest.raises(BadReply, match="these credentials do not allow it"):
        answered_s3.store.check()
