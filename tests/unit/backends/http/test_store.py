# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import pytest
from urllib3.response import HTTPResponse

from imageapi import Caller
from imageapi.backends.http.store import HTTPStore
from imageapi.backends.http_client.urls import Url
from imageapi.errors import (
    BadReply,
    ConfigurationError,
    DataChanged,
    DataForbidden,
    DataNotFound,
    LocationRefused,
)
from imageapi.image import Location
from imageapi.testing.suite import build
from tests.unit.backends.upstream import response

MEMBER = Caller(user_id="u", token="t0ken")
CHANGED = "Sun, 06 Nov 1994 08:49:37 GMT"
NOW = "Sun, 06 Nov 1994 09:00:00 GMT"


class AnsweredStore:
    """A store whose requests get the responses of a test, by URL."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = build(
            HTTPStore,
            allowed_urls=["http://host/images", "http://mirror/"],
            url_template="http://host/images/{image_id}?signature=s3cret",
            auth="caller",
        )
        monkeypatch.setattr(self.store._upstream, "request", self._request)
        self.requests: list[tuple[str, Mapping[str, str]]] = []
        self.answers: dict[str, HTTPResponse] = {}

    def _request(self, method: str, url: Url, headers: Mapping[str, str]) -> HTTPResponse:
        self.requests.append((f"{method} {url}", headers))
        return self.answers[str(url)]

    def open(self, answer: HTTPResponse, version: str | None = None) -> str | None:
        """Open the URL of an image that gets this response; return the version."""
        self.answers["http://host/images/i"] = answer
        location = Location("http://host/images/i")
        blob = self.store.open(location, version=version, caller=MEMBER)
        blob.close()
        return blob.version


@pytest.fixture
def answered_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[AnsweredStore]:
    front = AnsweredStore(monkeypatch)
    yield front
    front.store.close()


def test_a_record_without_a_location_is_at_the_url_of_the_template(
    answered_store: AnsweredStore,
) -> None:
    location = answered_store.store.locate("a/b")
    assert location.url == "http://host/images/a%2Fb?signature=s3cret"


@pytest.mark.parametrize(
    ("headers", "version", "condition"),
    [
        ({"ETag": '"1"', "Last_Modified": CHANGED}, '"1"', {"If-Match": '"1"'}),
        (
            {"ETag": 'W/"1"', "Last_Modified": CHANGED, "Date": NOW, "Content_Length": 0},
            f"{CHANGED};0",
            {"If-Unmodified-Since": CHANGED},
        ),
        ({"Content_MD5": "abc"}, "md5 abc", {}),
        ({}, None, {}),
    ],
)
def test_a_version_is_requested_by_the_validator_it_was_made_of(
    answered_store: AnsweredStore,
    headers: dict[str, Any],
    version: str | None,
    condition: dict[str, str],
) -> None:
    headers = {"Date": NOW, **headers}
    assert answered_store.open(response(200, **headers)) == version
    assert answered_store.open(response(200, **headers), version) == version
    token = {"X-Auth-Token": "t0ken"}
    assert answered_store.requests[1] == ("GET http://host/images/i", condition | token)


def test_a_version_of_another_store_is_not_requested(answered_store: AnsweredStore) -> None:
    with pytest.raises(DataChanged):
        answered_store.open(response(200), "0123 1.5")
    assert answered_store.requests == []


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, DataNotFound), (403, DataForbidden), (412, DataChanged), (418, BadReply)],
)
def test_a_status_without_data_is_its_error(
    answered_store: AnsweredStore, status: int, error: type[Exception]
) -> None:
    with pytest.raises(error, match=f"http://host/images/i answers with status {status}"):
        answered_store.open(response(status))


def test_a_redirect_is_followed_without_the_token(answered_store: AnsweredStore) -> None:
    answered_store.answers["http://mirror/i"] = response(200)
    answered_store.open(response(302, Location="http://mirror/i"))
    assert answered_store.requests[1] == ("GET http://mirror/i", {})


def test_neither_location_nor_redirect_leaves_the_allowed_urls(
    answered_store: AnsweredStore,
) -> None:
    with pytest.raises(LocationRefused):
        answered_store.store.open(Location("http://host/images2/i"), caller=MEMBER)
    assert answered_store.requests == []
    answer = response(302, Location="http://evil/i")
    with pytest.raises(BadReply, match="redirects to a URL that is refused"):
        answered_store.open(answer)
    assert answer.closed
    assert len(answered_store.requests) == 1


def test_each_invalid_prefix_is_told_by_its_number() -> None:
    with pytest.raises(ConfigurationError) as caught:
        build(HTTPStore, allowed_urls=["ftp://h", "http://h", "ftp://h"])
    reason = "it is not an http: or https: URL"
    assert list(caught.value.problems) == [
        f"allowed_urls: entry 1: {reason}",
        f"allowed_urls: entry 3: {reason}",
    ]


@pytest.mark.parametrize("auth", ["none", "caller"])
def test_only_an_upstream_that_knows_the_caller_decides(auth: str) -> None:
    store = build(
        HTTPStore, url_template="http://host/{image_id}", allowed_urls=["http://host/"], auth=auth
    )
    with closing(store):
        assert store.decides_access is (auth == "caller")
