# SPDX-License-Identifier: Apache-2.0
import json
import logging
from typing import Any, cast

import pytest

from imageapi.backends.http.list_pages import (
    LARGEST_PAGE,
    Page,
    PageReader,
    SeenPages,
    Source,
    answer_of,
)
from imageapi.backends.http.list_parameters import Dialect
from imageapi.backends.http_client.client import Upstream
from imageapi.backends.http_client.urls import Url
from imageapi.errors import BackendUnavailable, BadReply
from tests.unit.backends.http.list_upstream import ListUpstream, upstream_record
from tests.unit.backends.upstream import response

URL = Url.parse("http://host/images")
TEN = [upstream_record(f"i{n}", n) for n in range(10)]


def sized_page(*ids: str | None, **fields: Any) -> dict[str, Any]:
    """An answer whose records have these ids."""
    return {"images": [{**upstream_record("", 1), "id": one} for one in ids], **fields}


class Reading:
    """A reader of an upstream that has ten images, the newest first."""

    def __init__(self, path: str = "v2", limit: int = 4, **source: Any) -> None:
        self.upstream = ListUpstream(TEN, is_v2=path == "v2")
        self.seen = SeenPages()
        fields: dict[str, Any] = {"parameters": {}, "hides_all_when_refusing": True, **source}
        self.reader = PageReader(
            Source(
                upstream=cast("Upstream", self.upstream),
                url=URL,
                dialect=Dialect[path.upper()],
                headers={"X-Auth-Token": "t0ken"},
                seen=self.seen,
                **fields,
            ),
            "created_at",
            descending=True,
            limit=limit,
        )

    def answers(self, *answers: Any) -> None:
        """The next answers: a status, bytes, or what is sent as JSON."""
        self.upstream.answers = [
            response(one)
            if isinstance(one, int)
            else response(200, one if isinstance(one, bytes) else json.dumps(one).encode())
            for one in answers
        ]

    def page(self, marker: str | None = None) -> Page:
        return self.reader.page("created_at", marker)

    def ids(self, marker: str | None = None) -> list[str | None]:
        return [entry.id for entry in self.page(marker).entries]

    @property
    def limits(self) -> list[str]:
        return [asked["limit"] for asked in self.upstream.requests]


def test_a_request_has_the_parameters_of_the_list_and_of_the_page() -> None:
    reading = Reading(parameters={"name": "a%20b"})
    assert reading.ids("i7") == ["i6", "i5", "i4", "i3"]
    [url] = reading.upstream.urls
    assert str(url) == (
        "http://host/images?name=a%20b&sort_key=created_at&sort_dir=desc&limit=4&marker=i7"
    )
    assert reading.upstream.headers == [{"X-Auth-Token": "t0ken"}]
    assert reading.reader.asked == {"name"}


def test_a_marker_is_percent_encoded() -> None:
    reading = Reading()
    reading.answers(sized_page())
    reading.page("a b/&")
    assert str(reading.upstream.urls[0]).endswith("&marker=a%20b%2F%26")


def test_an_entry_has_the_value_of_the_sort_key() -> None:
    first = Reading(limit=1).page().entries[0]
    assert (first.id, first.value) == ("i9", "2026-11-20T08:09:00Z")
    assert first.image is not None
    assert first.image.id == "i9"


def test_the_last_image_of_a_list_is_the_first_in_the_other_direction() -> None:
    reading = Reading()
    page = reading.reader.last("created_at")
    assert [entry.id for entry in page.entries] == ["i0"]
    assert reading.upstream.requests[0]["sort_dir"] == "asc"
    assert reading.limits == ["1"]


def test_pages_grow_up_to_the_largest() -> None:
    reading = Reading(limit=100)
    for limit in (100, 200, 400, LARGEST_PAGE, LARGEST_PAGE):
        assert reading.reader.limit == limit
        reading.answers(sized_page(*(f"i{n}" for n in range(limit))))
        reading.page()


def test_a_page_that_is_larger_than_the_largest_of_a_walk_stays_as_large() -> None:
    reading = Reading(limit=LARGEST_PAGE + 1)
    reading.answers(sized_page(*(f"i{n}" for n in range(LARGEST_PAGE))))
    reading.page()
    assert reading.reader.limit == LARGEST_PAGE + 1


def test_a_page_has_one_image_at_least() -> None:
    assert Reading(limit=0).reader.limit == 1


def test_pages_of_large_records_stay_small() -> None:
    large = "x" * 200_000
    reading = Reading(limit=16)
    reading.upstream.records = [upstream_record(f"i{n:02}", n, large=large) for n in range(60)]
    marker = None
    while not (page := reading.page(marker)).is_last:
        marker = page.last_id
    assert reading.limits == ["16", "20", "20", "20"]


def test_a_page_of_a_walk_is_smaller_if_the_last_records_were_large() -> None:
    reading = Reading()
    assert reading.reader.largest == LARGEST_PAGE
    for size, largest in ((100, LARGEST_PAGE), (200_000, 20), (8_000_000, 1)):
        reading.answers({"images": [upstream_record("a", 1, large="x" * size)]})
        reading.page()
        assert reading.reader.largest == largest


# Which page is the last one.


@pytest.mark.parametrize(
    ("answer", "is_last"),
    [
        (sized_page("a", next="x"), False),
        (sized_page("a", "b"), True),
        (sized_page("a", "b", "c", "d"), True),
        (sized_page(next="x"), True),
    ],
)
def test_v2_tells_which_page_is_the_last(answer: Any, is_last: bool) -> None:
    reading = Reading()
    reading.answers(answer)
    assert reading.page().is_last == is_last
    assert len(reading.upstream.requests) == 1


def test_a_full_page_of_v1_is_not_the_last_and_an_empty_one_is() -> None:
    reading = Reading("v1")
    assert not reading.page().is_last
    assert reading.page("i0").is_last
    assert len(reading.upstream.requests) == 2


def test_an_empty_page_of_v1_is_the_last_in_a_new_process() -> None:
    reading = Reading("v1")
    assert reading.page("i0").is_last
    assert len(reading.upstream.requests) == 1


def test_a_short_page_of_v1_is_the_last_if_a_larger_one_was_seen() -> None:
    reading = Reading("v1")
    reading.page()
    assert reading.page("i2").is_last
    assert len(reading.upstream.requests) == 2


def test_a_short_page_of_v1_takes_a_look_behind_it_in_a_new_process() -> None:
    reading = Reading("v1")
    assert reading.page("i2").is_last
    assert [asked["marker"] for asked in reading.upstream.requests] == ["i2", "i0"]


def test_an_upstream_of_v1_that_limits_all_pages() -> None:
    reading = Reading("v1", limit=8)
    reading.upstream.cap = 3
    assert not reading.page().is_last
    assert reading.seen.largest == 3
    assert not reading.page("i7").is_last


def test_the_look_behind_a_page_begins_after_an_image_with_a_value() -> None:
    reading = Reading("v1")
    reading.answers({"images": [TEN[1], upstream_record("none", 0, created_at=None)]}, sized_page())
    assert reading.page().is_last
    assert reading.upstream.requests[1]["marker"] == "i1"


def test_a_look_behind_that_shows_the_same_images_is_behind_the_end() -> None:
    reading = Reading("v1")
    reading.answers(sized_page("a", "b"), sized_page("a"))
    assert reading.page().is_last


def test_a_short_page_without_ids_is_the_last() -> None:
    reading = Reading("v1")
    reading.answers(sized_page(None))
    assert reading.page().is_last


# Answers that are no page.


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (400, BadReply),
        (404, BadReply),
        (302, BadReply),
        (429, BackendUnavailable),
        (500, BackendUnavailable),
        (b"{", BadReply),
        (b"[" * 100_000, BadReply),
        (b"[]", BadReply),
        ({"images": {}}, BadReply),
        ({"image": []}, BadReply),
        ({"images": [{}], "next": "x"}, BadReply),
        (b'{"images": [' + b"0," * 1_000_000 + b"0]}", BadReply),
        (b" " * (16 * 1024 * 1024 + 1), BadReply),
    ],
)
def test_an_invalid_answer(answer: Any, error: type[Exception]) -> None:
    reading = Reading()
    reading.answers(answer)
    with pytest.raises(error, match="http://host/images "):
        reading.page()


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_caller(status: int) -> None:
    reading = Reading()
    reading.answers(status, status)
    page = reading.page()
    assert (page.entries, page.is_last) == ((), True)
    with pytest.raises(BackendUnavailable, match="refuses this caller the rest"):
        reading.page("i7")
    reading = Reading(hides_all_when_refusing=False)
    reading.answers(status)
    with pytest.raises(BadReply, match=str(status)):
        reading.page()


@pytest.mark.parametrize("status", [400, 404])
def test_a_marker_that_disappears(status: int) -> None:
    reading = Reading()
    reading.answers(status)
    with pytest.raises(BackendUnavailable, match="no longer"):
        reading.page("i7")


def test_an_upstream_that_does_not_page() -> None:
    reading = Reading()
    reading.answers(sized_page("a", "b"))
    with pytest.raises(BadReply, match="ignores the parameter marker"):
        reading.page("b")


def test_malformed_records_are_logged_once_for_each_page(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reading = Reading()
    wrong = [upstream_record("w1", 1, size=-1), 7, {**TEN[0], "id": "a/b"}]
    reading.answers({"images": [*wrong, TEN[0]]}, {"images": [upstream_record("w2", 1, status=1)]})
    with caplog.at_level(logging.WARNING):
        entries = reading.page().entries
        reading.page()
    assert [(one.id, one.image is None) for one in entries] == [
        ("w1", True),
        (None, True),
        (None, True),
        ("i0", False),
    ]
    assert [one.getMessage()[:60] for one in caplog.records] == [
        "a list: malformed records left out: 3, the first: http://hos",
        "a list: malformed records left out: 1, the first: http://hos",
    ]


def test_the_answer_of_another_list() -> None:
    answer = {"shared_images": [1], "more": 2}
    assert answer_of(json.dumps(answer).encode(), URL, "shared_images") == answer
    with pytest.raises(BadReply, match="http://host/images returned no valid list"):
        answer_of(json.dumps(answer).encode(), URL, "images")
