# SPDX-License-Identifier: Apache-2.0
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from imageapi.backends.http_client.status import (
    check_encoding,
    has_usable_validator,
    refuse_status,
    retry_after_of,
    time_of,
)
from imageapi.backends.http_client.urls import Url
from imageapi.errors import BackendUnavailable, BadReply
from tests.unit.backends.upstream import response

URL = Url.parse("http://host/a?signature=s3cret")
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_in_trouble_is_unavailable_for_as_long_as_it_says(status: int) -> None:
    with pytest.raises(BackendUnavailable) as caught:
        refuse_status(response(status, Retry_After=7), URL)
    assert caught.value.retry_after == 7
    assert str(caught.value) == f"http://host/a answers with status {status}"


@pytest.mark.parametrize("status", [204, 302, 400, 418])
def test_any_other_status_is_a_bad_reply(status: int) -> None:
    with pytest.raises(BadReply, match=f"answers with status {status}"):
        refuse_status(response(status), URL)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7", 7), ("9" * 5000, 86400), (DATE, 0), ("-1", None), ("soon", None), ("", None)],
)
def test_retry_after_is_a_bounded_number_of_seconds(text: str, seconds: int | None) -> None:
    assert retry_after_of(response(503, Retry_After=text)) == seconds


def test_retry_after_may_be_a_date() -> None:
    then = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    assert 3000 < (retry_after_of(response(503, Retry_After=then)) or 0) <= 3600


def test_a_date_without_a_zone_is_utc() -> None:
    assert (
        time_of(DATE)
        == time_of(DATE.removesuffix(" GMT"))
        == datetime(1994, 11, 6, 8, 49, 37, 0, UTC)
    )
    assert time_of("no date") is None


@pytest.mark.parametrize(
    ("headers", "is_usable"),
    [
        ({}, True),
        ({"Last_Modified": DATE, "Date": DATE.replace(":37", ":39")}, True),
        ({"Last_Modified": DATE, "Date": DATE.replace(":37", ":38")}, False),
        ({"Last_Modified": DATE}, False),
        ({"Last_Modified": "no date", "Date": DATE}, False),
    ],
)
def test_a_validator_is_usable_two_seconds_after_the_change(
    headers: dict[str, Any], is_usable: bool
) -> None:
    assert has_usable_validator(response(200, **headers)) is is_usable


def test_only_the_identity_encoding_is_accepted() -> None:
    check_encoding(response(200), URL)
    check_encoding(response(200, Content_Encoding=" Identity"), URL)
    with pytest.raises(BadReply, match="Content-Encoding"):
        check_encoding(response(200, Content_Encoding="gzip"), URL)
