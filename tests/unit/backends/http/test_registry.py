# SPDX-License-Identifier: Apache-2.0
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from urllib3.response import HTTPResponse

from imageapi import Caller
from imageapi.backends.http.registry import HTTPRegistry
from imageapi.backends.http_client.urls import Url
from imageapi.caller import ANONYMOUS
from imageapi.errors import BackendUnavailable, BadReply, ConfigurationError, ImageNotFound
from imageapi.testing.suite import build
from tests.unit.backends.upstream import Time, response

RECORD = json.dumps({"id": "i", "status": "active"}).encode()
MEMBER = Caller(user_id="u", token="t0ken")


class AnsweredRegistry:
    """A registry whose requests get the responses of a test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
        self.registry = build(HTTPRegistry, endpoint="http://host/images/", **options)
        monkeypatch.setattr(self.registry._upstream, "request", self._request)
        self.requests: list[tuple[str, Mapping[str, str]]] = []
        self.answer = response(404)

    def _request(self, method: str, url: Url, headers: Mapping[str, str]) -> HTTPResponse:
        self.requests.append((f"{method} {url}", headers))
        return self.answer


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> Iterator[AnsweredRegistry]:
    front = AnsweredRegistry(monkeypatch, suffix=".json", auth="caller")
    yield front
    front.registry.close()


def test_the_url_is_the_endpoint_the_encoded_id_and_the_suffix(answered: AnsweredRegistry) -> None:
    with pytest.raises(ImageNotFound):
        answered.registry.get("a/b c", MEMBER)
    assert answered.requests == [
        ("GET http://host/images/a%2Fb%20c.json", {"X-Auth-Token": "t0ken"}),
    ]


def test_a_record_is_requested_again_with_its_etag(answered: AnsweredRegistry) -> None:
    answered.answer = response(200, RECORD, ETag='"1"')
    image = answered.registry.get("i", MEMBER)
    answered.answer = response(304)
    assert answered.registry.get("i", MEMBER) is image
    assert answered.requests[1][1]["If-None-Match"] == '"1"'


def test_a_callers_record_is_not_kept_for_another_caller(answered: AnsweredRegistry) -> None:
    answered.answer = response(200, RECORD, ETag='"1"')
    answered.registry.get("i", MEMBER)
    answered.answer = response(304)
    with pytest.raises(BadReply, match="304"):
        answered.registry.get("i", ANONYMOUS)
    assert "If-None-Match" not in answered.requests[1][1]


@pytest.fixture
def remembering(monkeypatch: pytest.MonkeyPatch, record_time: Time) -> Iterator[AnsweredRegistry]:
    """Remembers records for ten seconds of `record_time`."""
    front = AnsweredRegistry(monkeypatch, auth="caller", record_ttl=10)
    yield front
    front.registry.close()


@pytest.mark.parametrize("headers", [{}, {"ETag": '"1"'}])
def test_a_fresh_record_is_not_requested_again(
    remembering: AnsweredRegistry, record_time: Time, headers: dict[str, str]
) -> None:
    remembering.answer = response(200, RECORD, **headers)
    image = remembering.registry.get("i", MEMBER)
    remembering.answer = response(404)
    record_time.now += 9.9
    assert remembering.registry.get("i", MEMBER) is image
    assert len(remembering.requests) == 1
    record_time.now += 0.2
    with pytest.raises(ImageNotFound):
        remembering.registry.get("i", MEMBER)
    asked = {"X-Auth-Token": "t0ken"}
    if headers:
        asked["If-None-Match"] = '"1"'
    assert remembering.requests[1:] == [("GET http://host/images/i", asked)]


def test_a_fresh_record_is_not_for_another_caller(remembering: AnsweredRegistry) -> None:
    remembering.answer = response(200, RECORD)
    remembering.registry.get("i", MEMBER)
    remembering.answer = response(403)
    for caller in (ANONYMOUS, Caller(token="other")):
        with pytest.raises(ImageNotFound):
            remembering.registry.get("i", caller)
    assert len(remembering.requests) == 3


def test_a_304_makes_a_record_fresh_again(remembering: AnsweredRegistry, record_time: Time) -> None:
    remembering.answer = response(200, RECORD, ETag='"1"')
    image = remembering.registry.get("i", MEMBER)
    remembering.answer = response(304)
    for _ in range(3):
        record_time.now += 6
        assert remembering.registry.get("i", MEMBER) is image
    assert len(remembering.requests) == 2


def test_a_304_without_a_condition_is_no_record(
    remembering: AnsweredRegistry, record_time: Time
) -> None:
    remembering.answer = response(200, RECORD)
    remembering.registry.get("i", MEMBER)
    record_time.now += 11
    remembering.answer = response(304)
    with pytest.raises(BadReply, match="304"):
        remembering.registry.get("i", MEMBER)


def test_a_fresh_malformed_record_is_an_error_of_its_own_each_time(
    remembering: AnsweredRegistry,
) -> None:
    remembering.answer = response(200, b"{}")
    errors = []
    for _ in range(2):
        with pytest.raises(BadReply) as caught:
            remembering.registry.get("i", MEMBER)
        errors.append(caught.value)
    assert errors[0] is not errors[1]
    assert str(errors[0]) == str(errors[1])
    assert len(remembering.requests) == 1


@pytest.mark.parametrize("status", [404, 403, 503])
def test_an_error_is_not_remembered(remembering: AnsweredRegistry, status: int) -> None:
    remembering.answer = response(status)
    with pytest.raises((ImageNotFound, BackendUnavailable)):
        remembering.registry.get("i", MEMBER)
    remembering.answer = response(200, RECORD)
    assert remembering.registry.get("i", MEMBER).id == "i"


@pytest.mark.parametrize("status", [404, 403])
def test_the_newest_record_is_requested_and_its_absence_noticed(
    remembering: AnsweredRegistry, status: int
) -> None:
    remembering.answer = response(200, RECORD)
    remembering.registry.get("i", MEMBER)
    remembering.answer = response(status)
    for get in (remembering.registry.get_newest, remembering.registry.get):
        with pytest.raises(ImageNotFound):
            get("i", MEMBER)
    assert len(remembering.requests) == 3


def test_a_server_in_trouble_is_not_noticed_while_a_record_is_fresh(
    remembering: AnsweredRegistry,
) -> None:
    remembering.answer = response(200, RECORD)
    image = remembering.registry.get("i", MEMBER)
    remembering.answer = response(503)
    with pytest.raises(BackendUnavailable):
        remembering.registry.get_newest("i", MEMBER)
    assert remembering.registry.get("i", MEMBER) is image


@pytest.mark.parametrize(("auth", "error"), [("caller", ImageNotFound), ("none", BadReply)])
def test_a_refused_caller_gets_no_record_and_a_refused_service_an_error(
    monkeypatch: pytest.MonkeyPatch, auth: str, error: type[Exception]
) -> None:
    front = AnsweredRegistry(monkeypatch, auth=auth)
    front.answer = response(403)
    with pytest.raises(error):
        front.registry.get("i", MEMBER)
    front.registry.close()


def test_a_malformed_record_is_a_bad_reply_that_says_who_may_see_it(
    answered: AnsweredRegistry,
) -> None:
    answered.answer = response(
        200, b'{"id": "i", "status": "active", "visibility": "public", "size": -1}'
    )
    with pytest.raises(BadReply, match="size") as caught:
        answered.registry.get("i", MEMBER)
    assert caught.value.visibility is not None
    assert caught.value.visibility.is_public


def test_check_accepts_an_absent_record_and_not_a_server_in_trouble(
    answered: AnsweredRegistry,
) -> None:
    assert answered.registry.check() == "endpoint http://host/images/"
    answered.answer = response(503)
    with pytest.raises(BackendUnavailable):
        answered.registry.check()


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"endpoint": "host/images"}, "endpoint"),
        ({"endpoint": "http://h", "suffix": "#"}, "suffix"),
    ],
)
def test_the_option_that_makes_no_url_is_named(options: dict[str, str], option: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{option}: "):
        build(HTTPRegistry, **options)
