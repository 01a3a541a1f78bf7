# SPDX-License-Identifier: Apache-2.0
import json
from collections.abc import Iterator
from typing import Any

import pytest

from imageapi.backends.http_client.urls import Url
from imageapi.backends.swift.account import SwiftAccount
from imageapi.backends.swift.listing import objects_in
from imageapi.backends.swift.registry import SwiftRegistry
from imageapi.errors import BackendError, BackendUnavailable, BadReply
from imageapi.testing.suite import build
from tests.unit.backends.swift.fake_swift import NOWHERE
from tests.unit.backends.upstream import response


class Pages:
    """Answers with these pages, one after the other, and keeps the queries."""

    def __init__(self, *pages: Any, status: int = 200) -> None:
        self.pages = list(pages)
        self.status = status
        self.queries: list[str] = []

    def request(self, *_: Any, query: str = "") -> Any:
        self.queries.append(query)
        page = self.pages.pop(0) if self.pages else []
        body = page if isinstance(page, bytes) else json.dumps(page).encode()
        return response(self.status, body), Url.parse("http://swift/v1/AUTH_a/c")


@pytest.fixture
def account() -> Iterator[SwiftAccount]:
    registry = build(SwiftRegistry, container="c", **NOWHERE)
    yield registry.account
    registry.close()


def names(account: SwiftAccount, pages: Pages, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(account, "request", pages.request)
    return [str(entry["name"]) for entry in objects_in(account, "c", "a/ü&")]


def test_pages_follow_each_other(account: SwiftAccount, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = Pages([{"name": "a"}, {"name": "b c"}], [{"name": "d"}])
    assert names(account, pages, monkeypatch) == ["a", "b c", "d"]
    prefix = "format=json&prefix=a%2F%C3%BC%26&marker="
    assert pages.queries == [prefix, f"{prefix}b%20c", f"{prefix}d"]


def test_absent_container_has_no_objects(
    account: SwiftAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert names(account, Pages(status=404), monkeypatch) == []


def test_container_that_disappears_between_pages(
    account: SwiftAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = Pages([{"name": "a"}])
    whole = pages.request

    def request(*arguments: Any, query: str = "") -> Any:
        answer = whole(*arguments, query=query)
        pages.status = 404
        return answer

    monkeypatch.setattr(account, "request", request)
    found = objects_in(account, "c", "")
    assert next(found)["name"] == "a"
    with pytest.raises(BackendUnavailable, match="disappeared while it was listed: try again"):
        next(found)


@pytest.mark.parametrize("page", [b"nonsense", b"{}x", [{"nam": 1}], [{"name": 1}], [1]])
def test_malformed_listing(
    account: SwiftAccount, monkeypatch: pytest.MonkeyPatch, page: Any
) -> None:
    with pytest.raises(BadReply, match="invalid listing"):
        names(account, Pages(page), monkeypatch)


def test_container_that_cannot_be_listed(
    account: SwiftAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BackendError, match="403"):
        names(account, Pages(status=403), monkeypatch)
