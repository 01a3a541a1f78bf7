# SPDX-License-Identifier: Apache-2.0
from datetime import UTC, datetime

import pytest

from imageapi.backends.s3.listing import objects_in, uploads_in
from imageapi.errors import BackendUnavailable, BadReply
from tests.unit.backends.s3.answered_client import AnsweredS3, s3_error
from tests.unit.backends.upstream import response

XMLNS = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


def object_entry(key: str, time: str = "2020-01-01T00:00:00.000Z") -> str:
    return f"<Contents><Key>{key}</Key><LastModified>{time}</LastModified></Contents>"


def upload_entry(key: str, upload: str) -> str:
    time = "<Initiated>2020-01-01T00:00:00Z</Initiated>"
    return f"<Upload><Key>{key}</Key><UploadId>{upload}</UploadId>{time}</Upload>"


def test_objects_page_by_page(answered_s3: AnsweredS3) -> None:
    more = "<IsTruncated>true</IsTruncated><NextContinuationToken>a/b+</NextContinuationToken>"
    answered_s3.answers = [
        response(200, f"<R {XMLNS}>{object_entry('a%20%26')}{more}</R>".encode()),
        response(200, f"<R>{object_entry('b')}<IsTruncated>false</IsTruncated></R>".encode()),
    ]
    first, second = objects_in(answered_s3.client, "images")
    assert (first.key, second.key, first.upload) == ("a &", "b", "")
    years = (datetime.now(UTC) - datetime(2020, 1, 1, tzinfo=UTC)).total_seconds()
    assert first.seconds == pytest.approx(years, abs=60)
    assert [sent.url.partition("?")[2] for sent in answered_s3.sent] == [
        "list-type=2&encoding-type=url",
        "list-type=2&encoding-type=url&continuation-token=a%2Fb%2B",
    ]


def test_uploads_page_by_page(answered_s3: AnsweredS3) -> None:
    more = "<IsTruncated>true</IsTruncated><NextKeyMarker>a%20b</NextKeyMarker>"
    more += "<NextUploadIdMarker>1=</NextUploadIdMarker>"
    answered_s3.answers = [
        response(200, f"<R {XMLNS}>{upload_entry('a%20b', '1=')}{more}</R>".encode()),
        response(200, f"<R>{upload_entry('c', '2')}</R>".encode()),
    ]
    found = list(uploads_in(answered_s3.client, "images"))
    assert [(one.key, one.upload) for one in found] == [("a b", "1="), ("c", "2")]
    assert [sent.url.partition("?")[2] for sent in answered_s3.sent] == [
        "encoding-type=url&uploads=",
        "encoding-type=url&key-marker=a%20b&upload-id-marker=1%3D&uploads=",
    ]


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<R>",
        f"<!DOCTYPE R [<!ENTITY a 'b'>]><R>{object_entry('&a;')}</R>",
        f"<R>{object_entry('')}</R>",
        f"<R>{object_entry('a', 'yesterday')}</R>",
        "<R><Upload><Key>a</Key></Upload></R>",
    ],
)
def test_an_invalid_listing(answered_s3: AnsweredS3, body: str) -> None:
    answered_s3.answers = [response(200, body.encode())]
    with pytest.raises(BadReply, match="http://s3/images/ returned an invalid listing"):
        list(objects_in(answered_s3.client, "images"))


def test_a_listing_that_is_refused(answered_s3: AnsweredS3) -> None:
    answered_s3.answers = [s3_error(404, "NoSuchBucket")]
    with pytest.raises(BackendUnavailable, match="the bucket does not exist"):
        list(uploads_in(answered_s3.client, "images"))
