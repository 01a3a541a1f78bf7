# SPDX-License-Identifier: Apache-2.0
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from imageapi import Caller
from imageapi.backends.http.registry import HTTPRegistry
from imageapi.backends.listing import ListQuery
from imageapi.caller import ANONYMOUS
from imageapi.errors import BackendUnavailable, BadReply
from imageapi.testing.suite import build
from tests.unit.backends.http.list_upstream import ListUpstream, upstream_record
from tests.unit.backends.upstream import response

MEMBER = Caller(user_id="u", project_id="p1", token="t0ken")
ADMIN = Caller(user_id="r", project_id="p1", token="r00t", is_admin=True)

PRIVATE = {"visibility": "private", "is_public": False}
RECORDS = [
    upstream_record("public", 5, owner="p2"),
    upstream_record("own", 4, **PRIVATE),
    upstream_record("shared", 3, owner="p2", visibility="shared", is_public=False),
    upstream_record("other", 2, owner="p2", **PRIVATE),
    upstream_record("gone", 1, status="pending_delete"),
]


class AnsweredLists:
    """A registry in front of an upstream that lists."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: str, auth: str) -> None:
        self.registry = build(HTTPRegistry, endpoint=f"http://host/{path}/images/", auth=auth)
        self.upstream = ListUpstream(RECORDS, is_v2=path == "v2")
        monkeypatch.setattr(self.registry._upstream, "request", self.upstream.request)

    def ids(self, caller: Caller = MEMBER, **query: Any) -> list[str]:
        project = query.pop("project_id", caller.project_id)
        found = self.registry.list(ListQuery(project_id=project, **query), caller)
        return [image.id for image in found]

    def answers(self, *answers: Any) -> None:
        """The next answers: a status, bytes, or what is sent as JSON."""
        self.upstream.answers = [
            response(one)
            if isinstance(one, int)
            else response(200, one if isinstance(one, bytes) else json.dumps(one).encode())
            for one in answers
        ]


@pytest.fixture
def answered_lists(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[AnsweredLists]:
    front = AnsweredLists(monkeypatch, *getattr(request, "param", ("v2", "caller")))
    yield front
    front.registry.close()


def in_turn(*paths: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "answered_lists", [tuple(one.split()) for one in paths], indirect=True
    )


def test_the_callers_token_is_sent_and_the_rest_is_asked_for_page_by_page(
    answered_lists: AnsweredLists,
) -> None:
    assert answered_lists.ids(limit=2) == ["public", "own", "shared", "other"]
    assert {str(url).partition("?")[0] for url in answered_lists.upstream.urls} == {
        "http://host/v2/images"
    }
    assert {str(one) for one in answered_lists.upstream.headers} == {"{'X-Auth-Token': 't0ken'}"}
    begin = {"member_status": "all", "sort_key": "created_at", "sort_dir": "desc"}
    assert answered_lists.upstream.requests == [
        {**begin, "limit": "2"},
        {**begin, "limit": "4", "marker": "own"},
    ]


@in_turn("v1 caller")
def test_the_list_of_v1_is_the_detailed_one(answered_lists: AnsweredLists) -> None:
    assert answered_lists.ids() == ["public", "own", "shared", "other"]
    assert answered_lists.upstream.urls[0].path == "/v1/images/detail"


def test_endpoint_of_other_records_cannot_list() -> None:
    registry = build(HTTPRegistry, endpoint="http://host/records")
    assert not registry.can_list
    with pytest.raises(NotImplementedError):
        registry.list(ListQuery(), ANONYMOUS)
    registry.close()


@in_turn("v2 none", "v1 none")
def test_without_the_callers_token_the_record_decides(answered_lists: AnsweredLists) -> None:
    assert answered_lists.ids() == ["public", "own"]
    assert answered_lists.ids(ANONYMOUS) == ["public"]
    assert answered_lists.upstream.headers == [{}] * len(answered_lists.upstream.headers)


def test_an_admin_gets_the_images_of_other_projects_only_if_asked_for(
    answered_lists: AnsweredLists,
) -> None:
    """Glance's v2 lists them for an admin in any case."""
    assert answered_lists.ids(ADMIN) == ["public", "own"]
    assert answered_lists.ids(ADMIN, all_projects=True) == ["public", "own", "shared", "other"]
    everything = ["public", "own", "shared", "other", "gone"]
    assert answered_lists.ids(ADMIN, all_projects=True, shows_deleted=True) == everything


def test_what_the_upstream_cannot_evaluate_is_checked_here(answered_lists: AnsweredLists) -> None:
    answered_lists.upstream.records = [
        upstream_record("a", 1, name="a\n"),
        upstream_record("b", 2, name="b"),
    ]
    assert answered_lists.ids(texts={"name": frozenset({"a\n"})}) == ["a"]


def test_whether_an_image_was_changed_is_not_checked_with_cut_seconds(
    answered_lists: AnsweredLists,
) -> None:
    answered_lists.upstream.records = [upstream_record("a", 1)]
    assert answered_lists.ids(changed_after=datetime(2026, 11, 20, 8, 1, 0, 500)) == ["a"]


def test_shared_images_of_a_glance_are_those_of_others(answered_lists: AnsweredLists) -> None:
    answered_lists.upstream.records = [RECORDS[2], upstream_record("mine", 1, visibility="shared")]
    assert answered_lists.ids(shared_with="p1") == ["shared"]
    assert answered_lists.upstream.requests[0]["visibility"] == "shared"
    assert answered_lists.ids(ADMIN, shared_with="p1") == []
    assert answered_lists.ids(shared_with="p3", project_id="p3") == []
    assert len(answered_lists.upstream.requests) == 1


@in_turn("v1 caller", "v1 none")
def test_shared_images_of_v1_have_a_list_of_their_own(
    answered_lists: AnsweredLists, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Upstream(ListUpstream):
        def request(self, method: str, url: Any, headers: Any) -> Any:
            if url.path == "/v1/shared-images/p1":
                entries = [{"image_id": "shared", "can_share": False}, {}, None]
                return response(200, json.dumps({"shared_images": entries}).encode())
            return super().request(method, url, headers)

    upstream = Upstream(RECORDS, is_v2=False)
    monkeypatch.setattr(answered_lists.registry._upstream, "request", upstream.request)
    [image] = answered_lists.registry.list(ListQuery(shared_with="p1", project_id="p1"), MEMBER)
    assert (image.id, image.members) == ("shared", frozenset({"p1"}))


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_caller_gets_an_empty_list_but_no_list_without_its_end(
    answered_lists: AnsweredLists, status: int
) -> None:
    answered_lists.answers(status)
    assert answered_lists.ids() == []
    answered_lists.answers({"images": RECORDS[:1], "next": "x"}, status)
    with pytest.raises(BackendUnavailable, match="refuses"):
        answered_lists.ids(limit=1)


@in_turn("v1 none")
def test_without_the_callers_token_v1_is_asked_for_all_images(
    answered_lists: AnsweredLists,
) -> None:
    """If it takes imageapi for an admin, it else lists the private images of no project."""
    answered_lists.ids()
    answered_lists.ids(ANONYMOUS)
    first, *_, last = answered_lists.upstream.requests
    assert first["is_public"] == "None"
    assert "is_public" not in last


@in_turn("v2 none", "v1 none")
def test_a_refused_service_is_an_error(answered_lists: AnsweredLists) -> None:
    answered_lists.answers(403)
    with pytest.raises(BadReply, match="403"):
        answered_lists.ids()


def test_malformed_records_are_left_out(answered_lists: AnsweredLists) -> None:
    answered_lists.answers(
        {"images": [upstream_record("w1", 1, size=-1), 7, RECORDS[0]], "next": "x"},
        {"images": [RECORDS[1], upstream_record("w2", 1, status="x")], "next": "x"},
        {"images": []},
    )
    assert answered_lists.ids() == ["public", "own"]
    assert [one["marker"] for one in answered_lists.upstream.requests[1:]] == ["public", "w2"]
