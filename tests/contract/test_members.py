# SPDX-License-Identifier: Apache-2.0
"""docs/wire.md, Members and shared images."""

from pathlib import Path
from typing import Any

import pytest

from imageapi import Caller
from imageapi.errors import BackendUnavailable, MalformedImage
from tests.contract.test_lists import at, put_image, unreachable_registry
from tests.memory import ADMIN, MEMBER, OTHER, Memory

PATH = "/v1/images/i/members"
NOBODY = Caller()
STRANGER = Caller(user_id="u3", project_id="p3")


def members(memory: Memory, caller: Caller, path: str = PATH) -> Any:
    response = memory.get(path, caller=caller)
    return [one["member_id"] for one in response.json["members"]]


def shared(memory: Memory, project: str, caller: Caller) -> list[str]:
    response = memory.get(f"/v1/shared-images/{project}", caller=caller)
    assert response.status_code == 200
    return [one["image_id"] for one in response.json["shared_images"]]


# Members.


@pytest.mark.wire("members-document")
@pytest.mark.wire("members-can-share")
@pytest.mark.parametrize("query", ["", "?limit=x&marker=y", "?x=%FF", "?format=json"])
def test_document(memory: Memory, query: str) -> None:
    put_image(memory, "i", is_public=False, owner="p1", members=frozenset({"p2", "\u00fc"}))
    response = memory.get(PATH + query, caller=MEMBER)
    assert (response.status_code, response.content_type) == (200, "application/json")
    assert response.json == {
        "members": [
            {"member_id": "p2", "can_share": False},
            {"member_id": "\u00fc", "can_share": False},
        ]
    }


@pytest.mark.wire("members-document")
def test_image_without_members(memory: Memory) -> None:
    put_image(memory, "i", owner="p1")
    assert members(memory, MEMBER) == []


@pytest.mark.wire("members-who")
@pytest.mark.parametrize(
    ("caller", "seen"),
    [
        (MEMBER, ["p2", "p4"]),
        (ADMIN, ["p2", "p4"]),
        (OTHER, ["p2"]),
        (STRANGER, None),
        (NOBODY, None),
        (Caller(user_id="u"), None),
    ],
)
@pytest.mark.parametrize("is_public", [False, True])
def test_who_sees_whom(
    memory: Memory, caller: Caller, seen: list[str] | None, is_public: bool
) -> None:
    put_image(memory, "i", is_public=is_public, owner="p1", members=frozenset({"p4", "p2"}))
    if seen is not None or is_public:
        assert members(memory, caller) == (seen or [])
        return
    hidden = memory.get(PATH, caller=caller)
    assert hidden.status_code == 404
    memory.registry.remove("i")
    absent = memory.get(PATH, caller=caller)
    assert (absent.status, absent.headerlist, absent.body) == (
        hidden.status,
        hidden.headerlist,
        hidden.body,
    )


@pytest.mark.wire("members-who")
def test_nobody_owns_an_image_without_owner(memory: Memory) -> None:
    put_image(memory, "i", owner=None, members=frozenset({"p2"}))
    assert members(memory, NOBODY) == []
    assert members(memory, Caller(project_id="")) == []


@pytest.mark.wire("members-deleted")
@pytest.mark.parametrize("fields", [{"status": "deleted"}, {"deleted": True}])
def test_members_of_a_deleted_image(memory: Memory, fields: dict[str, Any]) -> None:
    put_image(memory, "i", owner="p1", members=frozenset({"p2"}), **fields)
    assert members(memory, ADMIN) == ["p2"]
    assert memory.get(PATH, caller=MEMBER).status_code == 404


@pytest.mark.wire("members-order")
def test_order_of_members(memory: Memory) -> None:
    put_image(memory, "i", owner="p1", members=frozenset({"b", "a", "B", "\u00fc", "1"}))
    assert members(memory, MEMBER) == ["1", "B", "a", "b", "\u00fc"]


@pytest.mark.wire("members-policy")
@pytest.mark.parametrize("rule", ["get_image", "get_members"])
@pytest.mark.parametrize("caller", [MEMBER, ADMIN])
def test_policy_refuses_members(tmp_path: Path, rule: str, caller: Caller) -> None:
    memory = Memory(tmp_path, f'"{rule}": "!"\n')
    put_image(memory, "i", owner="p1")
    for path in (PATH, "/v1/images/absent/members"):
        assert memory.get(path, caller=caller).status_code == 403
    head = memory.head("/v1/images/i", caller=caller)
    assert head.status_code == (403 if rule == "get_image" else 200)
    memory.api.close()


@pytest.mark.wire("members-policy")
def test_policy_decides_on_the_image(tmp_path: Path) -> None:
    memory = Memory(tmp_path, '"get_members": "project_id:%(owner)s"\n')
    put_image(memory, "i", owner="p1")
    put_image(memory, "j", owner="p2")
    assert members(memory, MEMBER) == []
    assert memory.get("/v1/images/j/members", caller=MEMBER).status_code == 403
    assert memory.head("/v1/images/j", caller=MEMBER).status_code == 200
    assert memory.get("/v1/images/absent/members", caller=MEMBER).status_code == 403
    memory.api.close()


@pytest.mark.wire("registry-unavailable")
@pytest.mark.wire("registry-malformed")
@pytest.mark.parametrize(
    ("error", "status"), [(BackendUnavailable("x"), 503), (MalformedImage("x"), 500)]
)
def test_registry_fails(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    def fail(*_: object) -> Any:
        raise error

    monkeypatch.setattr(memory.registry, "get", fail)
    assert memory.get(PATH, caller=ADMIN).status_code == status


@pytest.mark.wire("routes-id")
@pytest.mark.wire("routes-bad-id")
@pytest.mark.wire("routes-segments")
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/images/%C3%BC/members", 200),
        ("/v1/images/%FF/members", 404),
        ("/v1/images/detail/members", 404),
        ("/v1/images//members", 404),
        ("/v1/images/i/members/", 404),
        ("/v1/images/i/members/p1", 404),
        ("/v1/images/i%2Fmembers", 200),
        ("/v1/shared-images/%C3%BC", 200),
        ("/v1/shared-images/%FF", 404),
        ("/v1/shared-images/", 404),
        ("/v1/shared-images/p/", 404),
        ("/v1/shared-images", 404),
        ("/v1/shared-images/" + "p" * 256, 404),
    ],
)
def test_paths(memory: Memory, path: str, status: int) -> None:
    put_image(memory, "\u00fc")
    put_image(memory, "i")
    assert memory.get(path).status_code == status


# Shared images.


@pytest.fixture
def sharing(memory: Memory) -> Memory:
    put_image(memory, "2", 1, is_public=False, owner="p1", members=frozenset({"p2", "p3"}))
    put_image(
        memory, "1", 2, is_public=False, owner="p1", members=frozenset({"p2"}), status="queued"
    )
    put_image(memory, "3", 2, is_public=True, owner=None, members=frozenset({"p2"}))
    put_image(memory, "4", 3, is_public=False, owner="p2")
    put_image(memory, "5", 3, members=frozenset({"p2"}), deleted=True)
    put_image(memory, "6", 3, members=frozenset({"p2"}), status="killed")
    return memory


@pytest.mark.wire("shared-document")
@pytest.mark.wire("members-can-share")
def test_shared_document(sharing: Memory) -> None:
    response = sharing.get("/v1/shared-images/p3?limit=x", caller=STRANGER)
    assert response.json == {"shared_images": [{"image_id": "2", "can_share": False}]}


@pytest.mark.wire("shared-document")
def test_shared_images_have_no_pages(memory: Memory) -> None:
    for number in range(1_100):
        put_image(memory, str(number), members=frozenset({"p2"}), created_at=at(number % 60))
    assert len(shared(memory, "p2", OTHER)) == 1_100


@pytest.mark.wire("shared-document")
@pytest.mark.wire("shared-who")
@pytest.mark.parametrize(
    ("caller", "seen"),
    [(OTHER, ["2", "1", "3"]), (ADMIN, ["2", "1", "3"]), (MEMBER, []), (NOBODY, [])],
)
def test_who_sees_what_is_shared(sharing: Memory, caller: Caller, seen: list[str]) -> None:
    assert shared(sharing, "p2", caller) == seen


@pytest.mark.wire("shared-who")
def test_registry_is_not_queried_for_others(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory.registry, "list", unreachable_registry)
    assert shared(memory, "p2", MEMBER) == []
    assert memory.get("/v1/shared-images/p2", caller=OTHER).status_code == 503
