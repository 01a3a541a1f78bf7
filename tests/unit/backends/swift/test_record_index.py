# SPDX-License-Identifier: Apache-2.0
"""The index, through the lists of the Swift registry."""

import logging
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from imageapi.backends.listing import ListQuery
from imageapi.backends.swift.registry import SwiftRegistry
from imageapi.caller import ANONYMOUS
from imageapi.errors import BackendUnavailable, BadReply, ImageNotFound, MalformedImage
from imageapi.testing.suite import build
from tests.unit.backends.swift.fake_swift import NOWHERE, md5_text
from tests.unit.backends.swift.listed_swift import ListedSwift
from tests.unit.backends.upstream import response

BY_NAME = ListQuery(sort_key="name", descending=False, limit=3)


@pytest.fixture
def registry(listed_swift: ListedSwift, monkeypatch: pytest.MonkeyPatch) -> Iterator[SwiftRegistry]:
    registry = build(SwiftRegistry, container="records", object_prefix="a/", **NOWHERE)
    monkeypatch.setattr(registry.account, "request", listed_swift.request)
    yield registry
    registry.close()


def names_of_list(registry: SwiftRegistry, query: ListQuery = BY_NAME) -> list[str | None]:
    return [image.name for image in registry.list(query, ANONYMOUS)]


def test_a_list_has_the_records_of_the_container(
    registry: SwiftRegistry, listed_swift: ListedSwift
) -> None:
    for image_id, name in (("1", "c"), ("2", "a"), ("3", "d"), ("4", "b"), ("5", "e")):
        listed_swift.put(image_id, name)
    listed_swift.put("6", "hidden", is_public=False)
    listed_swift.objects["/records/a/other.txt"] = listed_swift.objects["/records/b"] = b"no record"
    assert registry.can_list
    assert names_of_list(registry) == ["a", "b", "c", "d", "e"]
    second = registry.get("2", ANONYMOUS)
    assert names_of_list(registry, replace(BY_NAME, after=second)) == ["b", "c", "d", "e"]
    by_id = ListQuery(sort_key="id", all_projects=True)
    assert names_of_list(registry, by_id) == ["hidden", "e", "b", "d", "a", "c"]


def test_an_empty_or_absent_container_has_an_empty_list(
    registry: SwiftRegistry, listed_swift: ListedSwift
) -> None:
    assert names_of_list(registry) == []
    listed_swift.answers["GET", "/records"] = response(404)
    assert names_of_list(registry) == []


def test_only_records_that_are_new_or_changed_are_read_to_sort_them(
    registry: SwiftRegistry, listed_swift: ListedSwift
) -> None:
    for image_id in "123":
        listed_swift.put(image_id, f"old {image_id}")
    nothing = replace(BY_NAME, size_min=1)
    assert names_of_list(registry, nothing) == []
    assert listed_swift.reads() == ["1 any", "2 any", "3 any"]
    assert names_of_list(registry, nothing) == []
    assert listed_swift.reads() == []
    listed_swift.put("2", "new", size=1)
    listed_swift.put("4", "added", size=1)
    listed_swift.remove("3")
    assert names_of_list(registry, nothing) == ["added", "new"]
    assert listed_swift.reads() == ["2 any", "2 newest", "4 any", "4 newest"]
    assert names_of_list(registry) == ["added", "new", "old 1"]
    assert not [read for read in listed_swift.reads() if read.startswith("3")]


def test_the_records_of_a_page_are_revalidated(
    registry: SwiftRegistry, listed_swift: ListedSwift
) -> None:
    listed_swift.put("1", "a")
    listed_swift.put("2", "b")
    first = list(registry.list(BY_NAME, ANONYMOUS))
    listed_swift.reads()
    again = list(registry.list(BY_NAME, ANONYMOUS))
    assert listed_swift.reads() == ["1 known", "2 known"]
    assert [one is other for one, other in zip(first, again, strict=True)] == [True, True]


def test_a_list_does_not_use_what_is_remembered_for_some_seconds(
    listed_swift: ListedSwift, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = build(
        SwiftRegistry, container="records", object_prefix="a/", record_ttl=60, **NOWHERE
    )
    monkeypatch.setattr(registry.account, "request", listed_swift.request)
    with closing(registry):
        for image_id, name in (("1", "a"), ("2", "b"), ("3", "c")):
            listed_swift.put(image_id, name)
        assert names_of_list(registry) == ["a", "b", "c"]
        listed_swift.reads()
        # The list has read them, so an image needs no request.
        assert registry.get("1", ANONYMOUS).name == "a"
        assert listed_swift.reads() == []
        listed_swift.put("1", "d")
        listed_swift.put("2", "b", is_public=False)
        listed_swift.remove("3")
        assert names_of_list(registry) == ["d"]
        assert registry.get("1", ANONYMOUS).name == "d"
        listed_swift.reads()
        # Nothing is read again and again.
        assert names_of_list(registry) == ["d"]
        assert listed_swift.reads() == ["1 known"]


def test_a_list_reads_no_more_records_than_its_page_needs(
    registry: SwiftRegistry, listed_swift: ListedSwift
) -> None:
    for number in range(20):
        listed_swift.put(f"{number:02}", f"{number:02}")
    names_of_list(registry, replace(BY_NAME, size_min=1))
    listed_swift.reads()
    with closing(registry.list(BY_NAME, ANONYMOUS)) as images:
        assert [next(images).name for _ in range(3)] == ["00", "01", "02"]
    assert listed_swift.reads() == ["00 newest", "01 newest", "02 newest"]


def test_a_record_that_goes_away_meanwhile_is_skipped(
    registry: SwiftRegistry, listed_swift: ListedSwift
) -> None:
    for image_id in "123":
        listed_swift.put(image_id, image_id)
    listed_swift.before["GET /records/a/2"] = lambda: listed_swift.remove("2")
    assert names_of_list(registry) == ["1", "3"]
    listed_swift.put("4", "4")
    assert names_of_list(registry) == ["1", "3", "4"]
    listed_swift.before["GET /records/a/3"] = lambda: listed_swift.remove("3")
    assert names_of_list(registry) == ["1", "4"]


def test_a_record_whose_hash_is_not_that_of_the_listing_is_read_for_each_list(
    registry: SwiftRegistry, listed_swift: ListedSwift
) -> None:
    listed_swift.listed["a/1.json"] = "0" * 32
    for name in "abc":
        listed_swift.put("1", name)
        assert names_of_list(registry) == [name]


@pytest.mark.parametrize("header", ["X-Object-Manifest", "X-Static-Large-Object"])
def test_a_manifest_is_read_for_each_list(
    registry: SwiftRegistry, listed_swift: ListedSwift, header: str
) -> None:
    listed_swift.put("1", "a")
    listed_swift.headers["/records/a/1.json"] = {header: "any"}
    for _ in range(2):
        assert names_of_list(registry, replace(BY_NAME, size_min=1)) == []
        assert listed_swift.reads() == ["1 any", "1 newest"]


def test_the_copy_of_a_replica_that_missed_a_change_is_not_remembered(
    registry: SwiftRegistry, listed_swift: ListedSwift
) -> None:
    listed_swift.put("1", "a", size=1)
    listed_swift.old["/records/a/1.json"] = b"{}"
    assert names_of_list(registry, replace(BY_NAME, size_min=1)) == ["a"]


@pytest.mark.parametrize("listed", [None, md5_text(b"")])
def test_a_record_without_a_hash_of_its_bytes_is_read_for_each_list(
    registry: SwiftRegistry, listed_swift: ListedSwift, listed: str | None
) -> None:
    listed_swift.listed["a/1.json"] = listed
    listed_swift.objects["/records/a/1.json"] = b""
    assert names_of_list(registry) == []
    for name in "abc":
        listed_swift.put("1", name)
        assert names_of_list(registry) == [name]
        assert "1 newest" in listed_swift.reads()


def test_a_listing_that_lags_behind_hides_no_change(
    registry: SwiftRegistry, listed_swift: ListedSwift
) -> None:
    old = md5_text(listed_swift.put("1", "b"))
    listed_swift.put("2", "c")
    assert names_of_list(registry) == ["b", "c"]
    listed_swift.listed["a/1.json"] = old
    listed_swift.put("1", "d")
    assert names_of_list(registry) == ["c", "d"]
    listed_swift.put("1", "a")
    assert names_of_list(registry) == ["a", "c"]
    listed_swift.put("1", "a", is_public=False)
    assert names_of_list(registry) == ["c"]
    del listed_swift.listed["a/1.json"]
    listed_swift.put("1", "z")
    assert names_of_list(registry) == ["c", "z"]


def test_an_image_that_has_moved_is_missing_from_one_list_at_most(
    registry: SwiftRegistry, listed_swift: ListedSwift
) -> None:
    one_by_one = replace(BY_NAME, limit=1)
    listed_swift.put("1", "b")
    listed_swift.listed["a/2.json"] = md5_text(listed_swift.put("2", "c"))
    assert names_of_list(registry, one_by_one) == ["b", "c"]
    # The listing does not show it yet.
    listed_swift.put("2", "a")
    assert names_of_list(registry, one_by_one) == ["b"]
    assert names_of_list(registry, one_by_one) == ["a", "b"]


def test_a_malformed_record_is_left_out_with_one_warning_for_each_version(
    registry: SwiftRegistry, listed_swift: ListedSwift, caplog: pytest.LogCaptureFixture
) -> None:
    listed_swift.put("1", "a")
    listed_swift.put("2", "b")
    texts = []
    for status in ("bad", "worse"):
        listed_swift.put("2", "b", status=status)
        assert names_of_list(registry) == names_of_list(registry) == ["a"]
        texts.append(caplog.text)
        caplog.clear()
    for text in texts:
        assert text.count("image '2' is left out of lists") == 1
        assert "http://swift/v1/AUTH_a/records/a/2.json: status" in text
    listed_swift.put("2", "mended")
    assert names_of_list(registry) == ["a", "mended"]
    assert caplog.records == []


def test_a_record_that_becomes_malformed_meanwhile_is_left_out(
    registry: SwiftRegistry, listed_swift: ListedSwift, caplog: pytest.LogCaptureFixture
) -> None:
    listed_swift.put("1", "a")
    assert names_of_list(registry) == ["a"]
    listed_swift.before["GET /records/a/1"] = lambda: listed_swift.put("1", "a", status="bad")
    assert names_of_list(registry) == []
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_record_that_is_too_large_is_left_out(
    registry: SwiftRegistry, listed_swift: ListedSwift, caplog: pytest.LogCaptureFixture
) -> None:
    listed_swift.put("1", "a")
    listed_swift.headers["/records/a/1.json"] = {"Content-Length": str(2**20 + 1)}
    assert names_of_list(registry) == names_of_list(registry) == []
    assert caplog.text.count("larger than 1048576 bytes") == 1


@pytest.mark.parametrize(("status", "error"), [(503, BackendUnavailable), (403, BadReply)])
def test_a_list_fails_as_a_whole(
    registry: SwiftRegistry, listed_swift: ListedSwift, status: int, error: type[Exception]
) -> None:
    for image_id in "123":
        listed_swift.put(image_id, image_id)
    for path in ("/records", "/records/a/2.json"):
        listed_swift.answers["GET", path] = response(status)
        with pytest.raises(error, match=str(status)):
            names_of_list(registry)
        listed_swift.answers.clear()
    assert names_of_list(registry) == ["1", "2", "3"]
    # Now that the index is complete, only the page's own requests can fail.
    listed_swift.answers["GET", "/records/a/2.json"] = response(status)
    with pytest.raises(error, match=str(status)):
        names_of_list(registry)


def test_what_was_read_before_a_failure_is_not_read_again(
    registry: SwiftRegistry, listed_swift: ListedSwift, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imageapi.backends.swift.record_index._AT_ONCE", 2)
    for image_id in "1234":
        listed_swift.put(image_id, image_id)
    listed_swift.answers["GET", "/records/a/4.json"] = response(503)
    nothing = replace(BY_NAME, size_min=1)
    with pytest.raises(BackendUnavailable):
        names_of_list(registry, nothing)
    listed_swift.answers.clear()
    listed_swift.reads()
    assert names_of_list(registry, nothing) == []
    assert listed_swift.reads() == ["3 any", "4 any"]


def test_a_listing_that_ends_early_removes_nothing(
    registry: SwiftRegistry, listed_swift: ListedSwift
) -> None:
    for image_id in "1234":
        listed_swift.put(image_id, image_id)
    assert names_of_list(registry) == ["1", "2", "3", "4"]
    listed_swift.requests.clear()
    whole = listed_swift.request
    pages = []

    def ends_early(method: str, path: str, *arguments: Any, **named: Any) -> Any:
        answer, url = whole(method, path, *arguments, **named)
        if path == "/records":
            pages.append(path)
            if len(pages) == 2:
                answer = response(404)
        return answer, url

    registry.account.request = ends_early  # type: ignore[method-assign]  # a stand-in
    with pytest.raises(BackendUnavailable, match="disappeared while it was listed"):
        names_of_list(registry)
    assert listed_swift.reads() == []
    registry.account.request = listed_swift.request  # type: ignore[method-assign]  # a stand-in
    assert names_of_list(registry) == ["1", "2", "3", "4"]


def test_lists_at_the_same_time_share_a_listing(
    registry: SwiftRegistry, listed_swift: ListedSwift
) -> None:
    for image_id in "123":
        listed_swift.put(image_id, image_id)
    begun, go_on = threading.Event(), threading.Event()
    whole = listed_swift.request

    def slow(method: str, path: str, *arguments: Any, **named: Any) -> Any:
        if path == "/records":
            begun.set()
            go_on.wait(30)
        return whole(method, path, *arguments, **named)

    registry.account.request = slow  # type: ignore[method-assign]  # a stand-in
    found: list[list[str | None]] = []
    threads = [
        threading.Thread(target=lambda: found.append(names_of_list(registry))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    begun.wait(30)
    # Meanwhile an image is served.
    assert registry.get("1", ANONYMOUS).name == "1"
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert found == [["1", "2", "3"]] * 8
    # Those that asked before the second refresh began share it.
    listings = [line for line, _ in listed_swift.requests if line == "GET /records"]
    assert len(listings) < 8 * 3


def test_the_failure_of_a_listing_is_shared_too(
    registry: SwiftRegistry, listed_swift: ListedSwift, monkeypatch: pytest.MonkeyPatch
) -> None:
    # All of them ask at the same moment, before the first one begins.
    times = iter([5.0, 6.0, 5.0, 5.0])
    monkeypatch.setattr(
        "imageapi.backends.swift.record_index.time.monotonic", lambda: next(times, 7.0)
    )
    listed_swift.answers["GET", "/records"] = response(503, Retry_After="7")
    for _ in range(2):
        with pytest.raises(BackendUnavailable, match="503") as caught:
            names_of_list(registry)
        assert caught.value.retry_after == 7
    assert len(listed_swift.requests) == 1


def test_no_thread_and_no_request_before_the_first_list(
    registry: SwiftRegistry, listed_swift: ListedSwift
) -> None:
    listed_swift.put("1", "a")
    before = threading.active_count()
    images = registry.list(BY_NAME, ANONYMOUS)
    assert (threading.active_count(), listed_swift.requests) == (before, [])
    next(images)
    images.close()
    registry.close()
    assert threading.active_count() == before
    # Twice does no harm.
    registry.close()


def test_errors_of_single_records_are_as_before(
    registry: SwiftRegistry, listed_swift: ListedSwift
) -> None:
    listed_swift.put("1", "a", status="bad")
    assert names_of_list(registry) == []
    with pytest.raises(MalformedImage):
        registry.get("1", ANONYMOUS)
    with pytest.raises(ImageNotFound):
        registry.get("2", ANONYMOUS)
