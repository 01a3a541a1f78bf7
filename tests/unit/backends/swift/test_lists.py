# SPDX-License-Identifier: Apache-2.0
"""The lists of the Swift registry."""

import json
import logging
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

import pytest
from urllib3.response import HTTPResponse

from imageapi.backends.listing import ListQuery
from imageapi.backends.swift.registry import SwiftRegistry
from imageapi.caller import ANONYMOUS
from imageapi.errors import BackendUnavailable, BadReply, ImageNotFound, MalformedImage
from imageapi.testing.suite import build
from tests.unit.backends.swift.fake_swift import NOWHERE, FakeSwift, md5_text
from tests.unit.backends.upstream import response

BY_NAME = ListQuery(sort_key="name", descending=False, limit=3)


class ListedSwift(FakeSwift):
    """Has a container ``records`` with a listing, two objects a page.

    :ivar listed: hashes that the listing has in place of those of the objects, by name.
    :ivar headers: further headers of objects, by path.
    :ivar old: copies of objects that a request gets if it does not ask for the newest.
    """

    def __init__(self) -> None:
        super().__init__()
        self.listed: dict[str, str | None] = {}
        self.headers: dict[str, dict[str, str]] = {}
        self.old: dict[str, bytes] = {}
        self.lock = threading.Lock()

    def put(self, image_id: str, name: str, **fields: Any) -> bytes:
        """Put the record of a public image, and return its bytes."""
        fields = {"status": "active", "is_public": True, "name": name, **fields}
        data = self.objects[f"/records/a/{image_id}.json"] = json.dumps(fields).encode()
        return data

    def remove(self, image_id: str) -> None:
        del self.objects[f"/records/a/{image_id}.json"]

    def request(self, *arguments: Any, **named: Any) -> Any:
        with self.lock:
            return super().request(*arguments, **named)

    def reads(self) -> list[str]:
        """The objects that were read since the last call, and how."""
        kinds = {(): "any", ("X-Newest",): "newest", ("If-None-Match", "X-Newest"): "known"}
        read = [
            f"{line.removeprefix('GET /records/a/').removesuffix('.json')} {kinds[how]}"
            for line, headers in self.requests
            if line != "GET /records"
            for how in [tuple(sorted(headers))]
        ]
        self.requests.clear()
        return sorted(read)

    def _answer(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes] | None,
        query: str,
    ) -> HTTPResponse:
        if path == "/records":
            (marker,) = parse_qs(query).get("marker", [""])
            names = sorted(path.removeprefix("/records/") for path in self.objects)
            page = [name for name in names if name > marker][:2]
            return response(200, json.dumps([self._entry(name) for name in page]).encode())
        data = self.objects.get(path)
        if data is None:
            return response(404)
        if "X-Newest" not in headers:
            data = self.old.get(path, data)
        more = {"ETag": md5_text(data), **self.headers.get(path, {})}
        if headers.get("If-None-Match") == more["ETag"]:
            return response(304, b"", **more)
        return response(200, data, **more)

    def _entry(self, name: str) -> dict[str, str | None]:
        return {
            "name": name,
            "hash": self.listed.get(name, md5_text(self.objects[f"/records/{name}"])),
        }


@pytest.fixture
def swift() -> ListedSwift:
    return ListedSwift()


@pytest.fixture
def registry(swift: ListedSwift, monkeypatch: pytest.MonkeyPatch) -> Iterator[SwiftRegistry]:
    registry = build(SwiftRegistry, container="records", object_prefix="a/", **NOWHERE)
    monkeypatch.setattr(registry.account, "request", swift.request)
    yield registry
    registry.close()


def names(registry: SwiftRegistry, query: ListQuery = BY_NAME) -> list[str | None]:
    return [image.name for image in registry.list(query, ANONYMOUS)]


def test_a_list_has_the_records_of_the_container(
    registry: SwiftRegistry, swift: ListedSwift
) -> None:
    for image_id, name in (("1", "c"), ("2", "a"), ("3", "d"), ("4", "b"), ("5", "e")):
        swift.put(image_id, name)
    swift.put("6", "hidden", is_public=False)
    swift.objects["/records/a/other.txt"] = swift.objects["/records/b"] = b"no record"
    assert registry.can_list
    assert names(registry) == ["a", "b", "c", "d", "e"]
    second = registry.get("2", ANONYMOUS)
    assert names(registry, replace(BY_NAME, after=second)) == ["b", "c", "d", "e"]
    by_id = ListQuery(sort_key="id", all_projects=True)
    assert names(registry, by_id) == ["hidden", "e", "b", "d", "a", "c"]


def test_an_empty_or_absent_container_has_an_empty_list(
    registry: SwiftRegistry, swift: ListedSwift
) -> None:
    assert names(registry) == []
    swift.answers["GET", "/records"] = response(404)
    assert names(registry) == []


def test_only_records_that_are_new_or_changed_are_read_to_sort_them(
    registry: SwiftRegistry, swift: ListedSwift
) -> None:
    for image_id in "123":
        swift.put(image_id, f"old {image_id}")
    nothing = replace(BY_NAME, size_min=1)
    assert names(registry, nothing) == []
    assert swift.reads() == ["1 any", "2 any", "3 any"]
    assert names(registry, nothing) == []
    assert swift.reads() == []
    swift.put("2", "new", size=1)
    swift.put("4", "added", size=1)
    swift.remove("3")
    assert names(registry, nothing) == ["added", "new"]
    assert swift.reads() == ["2 any", "2 newest", "4 any", "4 newest"]
    assert names(registry) == ["added", "new", "old 1"]
    assert not [read for read in swift.reads() if read.startswith("3")]


def test_the_records_of_a_page_are_revalidated(registry: SwiftRegistry, swift: ListedSwift) -> None:
    swift.put("1", "a")
    swift.put("2", "b")
    first = list(registry.list(BY_NAME, ANONYMOUS))
    swift.reads()
    again = list(registry.list(BY_NAME, ANONYMOUS))
    assert swift.reads() == ["1 known", "2 known"]
    assert [one is other for one, other in zip(first, again, strict=True)] == [True, True]


def test_a_list_reads_no_more_records_than_its_page_needs(
    registry: SwiftRegistry, swift: ListedSwift
) -> None:
    for number in range(20):
        swift.put(f"{number:02}", f"{number:02}")
    names(registry, replace(BY_NAME, size_min=1))
    swift.reads()
    with closing(registry.list(BY_NAME, ANONYMOUS)) as images:
        assert [next(images).name for _ in range(3)] == ["00", "01", "02"]
    assert swift.reads() == ["00 newest", "01 newest", "02 newest"]


def test_a_record_that_goes_away_meanwhile_is_skipped(
    registry: SwiftRegistry, swift: ListedSwift
) -> None:
    for image_id in "123":
        swift.put(image_id, image_id)
    swift.before["GET /records/a/2"] = lambda: swift.remove("2")
    assert names(registry) == ["1", "3"]
    swift.put("4", "4")
    assert names(registry) == ["1", "3", "4"]
    swift.before["GET /records/a/3"] = lambda: swift.remove("3")
    assert names(registry) == ["1", "4"]


def test_a_record_whose_hash_is_not_that_of_the_listing_is_read_for_each_list(
    registry: SwiftRegistry, swift: ListedSwift
) -> None:
    swift.listed["a/1.json"] = "0" * 32
    for name in "abc":
        swift.put("1", name)
        assert names(registry) == [name]


@pytest.mark.parametrize("header", ["X-Object-Manifest", "X-Static-Large-Object"])
def test_a_manifest_is_read_for_each_list(
    registry: SwiftRegistry, swift: ListedSwift, header: str
) -> None:
    swift.put("1", "a")
    swift.headers["/records/a/1.json"] = {header: "any"}
    for _ in range(2):
        assert names(registry, replace(BY_NAME, size_min=1)) == []
        assert swift.reads() == ["1 any", "1 newest"]


def test_the_copy_of_a_replica_that_missed_a_change_is_not_remembered(
    registry: SwiftRegistry, swift: ListedSwift
) -> None:
    swift.put("1", "a", size=1)
    swift.old["/records/a/1.json"] = b"{}"
    assert names(registry, replace(BY_NAME, size_min=1)) == ["a"]


@pytest.mark.parametrize("listed", [None, md5_text(b"")])
def test_a_record_without_a_hash_of_its_bytes_is_read_for_each_list(
    registry: SwiftRegistry, swift: ListedSwift, listed: str | None
) -> None:
    swift.listed["a/1.json"] = listed
    swift.objects["/records/a/1.json"] = b""
    assert names(registry) == []
    for name in "abc":
        swift.put("1", name)
        assert names(registry) == [name]
        assert "1 newest" in swift.reads()


def test_quoted_etags_are_those_of_the_listing(registry: SwiftRegistry, swift: ListedSwift) -> None:
    etag = f'"{md5_text(swift.put("1", "a"))}"'
    swift.headers["/records/a/1.json"] = {"ETag": etag}
    nothing = replace(BY_NAME, size_min=1)
    assert names(registry, nothing) == names(registry, nothing) == []
    assert swift.reads() == ["1 any"]


def test_a_listing_that_lags_behind_hides_no_change(
    registry: SwiftRegistry, swift: ListedSwift
) -> None:
    old = md5_text(swift.put("1", "b"))
    swift.put("2", "c")
    assert names(registry) == ["b", "c"]
    swift.listed["a/1.json"] = old
    swift.put("1", "d")
    assert names(registry) == ["c", "d"]
    swift.put("1", "a")
    assert names(registry) == ["a", "c"]
    swift.put("1", "a", is_public=False)
    assert names(registry) == ["c"]
    del swift.listed["a/1.json"]
    swift.put("1", "z")
    assert names(registry) == ["c", "z"]


def test_an_image_that_has_moved_is_missing_from_one_list_at_most(
    registry: SwiftRegistry, swift: ListedSwift
) -> None:
    one_by_one = replace(BY_NAME, limit=1)
    swift.put("1", "b")
    swift.listed["a/2.json"] = md5_text(swift.put("2", "c"))
    assert names(registry, one_by_one) == ["b", "c"]
    # The listing does not show it yet.
    swift.put("2", "a")
    assert names(registry, one_by_one) == ["b"]
    assert names(registry, one_by_one) == ["a", "b"]


def test_a_malformed_record_is_left_out_with_one_warning_for_each_version(
    registry: SwiftRegistry, swift: ListedSwift, caplog: pytest.LogCaptureFixture
) -> None:
    swift.put("1", "a")
    swift.put("2", "b")
    texts = []
    for status in ("bad", "worse"):
        swift.put("2", "b", status=status)
        assert names(registry) == names(registry) == ["a"]
        texts.append(caplog.text)
        caplog.clear()
    for text in texts:
        assert text.count("image '2' is left out of lists") == 1
        assert "http://swift/v1/AUTH_a/records/a/2.json: status" in text
    swift.put("2", "mended")
    assert names(registry) == ["a", "mended"]
    assert caplog.records == []


def test_a_record_that_becomes_malformed_meanwhile_is_left_out(
    registry: SwiftRegistry, swift: ListedSwift, caplog: pytest.LogCaptureFixture
) -> None:
    swift.put("1", "a")
    assert names(registry) == ["a"]
    swift.before["GET /records/a/1"] = lambda: swift.put("1", "a", status="bad")
    assert names(registry) == []
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_record_that_is_too_large_is_left_out(
    registry: SwiftRegistry, swift: ListedSwift, caplog: pytest.LogCaptureFixture
) -> None:
    swift.put("1", "a")
    swift.headers["/records/a/1.json"] = {"Content-Length": str(2**20 + 1)}
    assert names(registry) == names(registry) == []
    assert caplog.text.count("larger than 1048576 bytes") == 1


@pytest.mark.parametrize(("status", "error"), [(503, BackendUnavailable), (403, BadReply)])
def test_a_list_fails_as_a_whole(
    registry: SwiftRegistry, swift: ListedSwift, status: int, error: type[Exception]
) -> None:
    for image_id in "123":
        swift.put(image_id, image_id)
    for path in ("/records", "/records/a/2.json"):
        swift.answers["GET", path] = response(status)
        with pytest.raises(error, match=str(status)):
            names(registry)
        swift.answers.clear()
    assert names(registry) == ["1", "2", "3"]
    # Now that the index is complete, only the page's own requests can fail.
    swift.answers["GET", "/records/a/2.json"] = response(status)
    with pytest.raises(error, match=str(status)):
        names(registry)


def test_what_was_read_before_a_failure_is_not_read_again(
    registry: SwiftRegistry, swift: ListedSwift, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imageapi.backends.swift.record_index._AT_ONCE", 2)
    for image_id in "1234":
        swift.put(image_id, image_id)
    swift.answers["GET", "/records/a/4.json"] = response(503)
    nothing = replace(BY_NAME, size_min=1)
    with pytest.raises(BackendUnavailable):
        names(registry, nothing)
    swift.answers.clear()
    swift.reads()
    assert names(registry, nothing) == []
    assert swift.reads() == ["3 any", "4 any"]


def test_a_listing_that_ends_early_removes_nothing(
    registry: SwiftRegistry, swift: ListedSwift
) -> None:
    for image_id in "1234":
        swift.put(image_id, image_id)
    assert names(registry) == ["1", "2", "3", "4"]
    swift.requests.clear()
    whole = swift.request
    pages = []

    def ends_early(method: str, path: str, *arguments: Any, **named: Any) -> Any:
        answer, url = whole(method, path, *arguments, **named)
        if path == "/records":
            pages.append(path)
            if len(pages) == 2:
                answer = response(404)
        return answer, url

    registry.account.request = ends_early  # type: ignore[method-assign]
    with pytest.raises(BackendUnavailable, match="disappeared while it was listed"):
        names(registry)
    assert swift.reads() == []
    registry.account.request = swift.request  # type: ignore[method-assign]
    assert names(registry) == ["1", "2", "3", "4"]


def test_lists_at_the_same_time_share_a_listing(
    registry: SwiftRegistry, swift: ListedSwift
) -> None:
    for image_id in "123":
        swift.put(image_id, image_id)
    begun, go_on = threading.Event(), threading.Event()
    whole = swift.request

    def slow(method: str, path: str, *arguments: Any, **named: Any) -> Any:
        if path == "/records":
            begun.set()
            go_on.wait(30)
        return whole(method, path, *arguments, **named)

    registry.account.request = slow  # type: ignore[method-assign]
    found: list[list[str | None]] = []
    threads = [threading.Thread(target=lambda: found.append(names(registry))) for _ in range(8)]
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
    listings = [line for line, _ in swift.requests if line == "GET /records"]
    assert len(listings) < 8 * 3


def test_the_failure_of_a_listing_is_shared_too(
    registry: SwiftRegistry, swift: ListedSwift, monkeypatch: pytest.MonkeyPatch
) -> None:
    # All of them ask at the same moment, before the first one begins.
    times = iter([5.0, 6.0, 5.0, 5.0])
    monkeypatch.setattr(
        "imageapi.backends.swift.record_index.time.monotonic", lambda: next(times, 7.0)
    )
    swift.answers["GET", "/records"] = response(503, Retry_After="7")
    for _ in range(2):
        with pytest.raises(BackendUnavailable, match="503") as caught:
            names(registry)
        assert caught.value.retry_after == 7
    assert len(swift.requests) == 1


def test_no_thread_and_no_request_before_the_first_list(
    registry: SwiftRegistry, swift: ListedSwift
) -> None:
    swift.put("1", "a")
    before = threading.active_count()
    images = registry.list(BY_NAME, ANONYMOUS)
    assert (threading.active_count(), swift.requests) == (before, [])
    next(images)
    images.close()
    registry.close()
    assert threading.active_count() == before
    # Twice does no harm.
    registry.close()


def test_errors_of_single_records_are_as_before(
    registry: SwiftRegistry, swift: ListedSwift
) -> None:
    swift.put("1", "a", status="bad")
    assert names(registry) == []
    with pytest.raises(MalformedImage):
        registry.get("1", ANONYMOUS)
    with pytest.raises(ImageNotFound):
        registry.get("2", ANONYMOUS)
