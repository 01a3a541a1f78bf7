# SPDX-License-Identifier: Apache-2.0
from typing import Any, NoReturn

import pytest
from urllib3.response import HTTPResponse

from imageapi.backends.http_client.blob import HTTPBlob, range_headers
from imageapi.backends.http_client.urls import Url
from imageapi.errors import (
    BackendUnavailable,
    BadReply,
    DataChanged,
    DataNotFound,
    RangeNotSupported,
)
from tests.unit.backends.upstream import response

URL = Url.parse("http://host/data")


def refuse(_response: HTTPResponse, _url: Url) -> NoReturn:
    raise DataNotFound("refused")


def blob_of(
    answer: HTTPResponse, start: int = 0, stop: int | None = None, version: str | None = None
) -> HTTPBlob:
    return HTTPBlob(
        answer,
        URL,
        start=start,
        stop=stop,
        version=version,
        version_of=lambda answer, size: answer.headers.get("ETag"),
        refuse=refuse,
        chunk_size=4,
    )


@pytest.mark.parametrize(
    ("start", "stop", "value"),
    [(0, None, None), (5, None, "bytes=5-"), (0, 1, "bytes=0-0"), (5, 2**64, "bytes=5-")],
)
def test_a_part_is_requested_up_to_the_byte_before_its_stop(
    start: int, stop: int | None, value: str | None
) -> None:
    assert range_headers(start, stop).get("Range") == value


def test_an_empty_part_cannot_be_requested() -> None:
    with pytest.raises(RangeNotSupported):
        range_headers(5, 5)


def test_data_is_read_in_chunks() -> None:
    blob = blob_of(response(200, b"123456", Content_Length=6, ETag="v"), version="v")
    assert (blob.total_size, blob.version) == (6, "v")
    assert list(blob) == [b"1234", b"56"]


@pytest.mark.parametrize(
    ("answer", "start", "error"),
    [
        (response(404), 0, DataNotFound),
        (response(206, Content_Range="bytes 0-5/6"), 0, BadReply),
        (response(200, Content_Encoding="gzip"), 0, BadReply),
        (response(200), 2, RangeNotSupported),
        (response(206, Content_Range="bytes 1-5/6"), 2, BadReply),
        (response(206, Content_Range="bytes 2-4/6"), 2, BadReply),
        (response(206, Content_Range="bytes 2-5/6", Content_Length=5), 2, BadReply),
        (response(206), 2, BadReply),
        (response(416, Content_Range="bytes */6"), 2, BadReply),
        (response(200, ETag="other"), 0, DataChanged),
    ],
)
def test_a_response_with_other_data_is_refused_and_closed(
    answer: Any, start: int, error: type[Exception]
) -> None:
    with pytest.raises(error):
        blob_of(answer, start, version="v" if error is DataChanged else None)
    assert answer.closed


def test_a_part_after_the_end_is_empty_and_tells_the_size() -> None:
    blob = blob_of(response(416, b"error", Content_Range="bytes */6"), start=6)
    assert (blob.total_size, list(blob)) == (6, [])
    blob.close()


@pytest.mark.parametrize("body", [b"123", b"12345"])
def test_another_length_than_announced_is_an_error_that_stays(body: bytes) -> None:
    # Without a Content-Length, only the announced range says how long the body is.
    blob = blob_of(response(206, body, Content_Range="bytes 2-5/6"), start=2)
    for _ in range(2):
        with pytest.raises(BackendUnavailable, match="more or fewer bytes than announced"):
            b"".join(blob)
