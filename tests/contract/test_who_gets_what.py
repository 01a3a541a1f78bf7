# SPDX-License-Identifier: Apache-2.0
"""docs/wire.md, Who gets what."""

from pathlib import Path
from typing import Any

import pytest
import webob

from imageapi import Caller
from imageapi.download.image_view import ImageViews
from imageapi.errors import BackendUnavailable
from tests.memory import ADMIN, MEMBER, OTHER, Memory

NOBODY = Caller()


def refusing(folder: Path, *actions: str) -> Memory:
    return Memory(folder, rules="\n".join(f'"{action}": "!"' for action in actions))


def both(
    memory: Memory, path: str = "/v1/images/i", caller: Caller | None = None
) -> tuple[int, int]:
    """The status of GET and of HEAD."""
    get, head = memory.get(path, caller=caller), memory.head(path, caller=caller)
    return get.status_code, head.status_code


@pytest.mark.wire("who-absent")
def test_absent(tmp_path: Path) -> None:
    assert both(Memory(tmp_path)) == (404, 404)
    assert both(refusing(tmp_path, "get_image")) == (403, 403)
    assert both(refusing(tmp_path, "download_image")) == (403, 404)


@pytest.mark.wire("who-absent")
@pytest.mark.parametrize(
    ("method", "actions"), [("GET", ["get_image", "download_image"]), ("HEAD", ["get_image"])]
)
def test_policy_is_asked_for_this_caller_about_nothing(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, method: str, actions: list[str]
) -> None:
    asked = []

    def allows(*about: object) -> bool:
        asked.append(about)
        return True

    monkeypatch.setattr(memory.api.backends.policy.backend, "allows", allows)
    memory.request("/v1/images/absent", method=method, caller=MEMBER)
    assert asked == [(action, MEMBER, {}) for action in actions]


@pytest.mark.wire("who-absent")
@pytest.mark.wire("who-same-bytes")
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_nothing_is_made_of_an_image_that_the_caller_may_not_know_of(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """The time that it takes would tell the caller that the image exists."""

    def describe(*args: object) -> None:
        pytest.fail("the image is described")

    memory.put(is_public=False)
    monkeypatch.setattr(ImageViews, "of", describe)
    assert memory.request(method=method).status_code == 404


@pytest.mark.wire("who-same-bytes")
@pytest.mark.parametrize("rules", ["{}", '"get_image": "!"', '"download_image": "role:x"'])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_absent_and_unknowable_are_the_same_bytes(tmp_path: Path, rules: str, method: str) -> None:
    memory = Memory(tmp_path, rules=rules)
    memory.put(id="hidden", is_public=False, owner="p1")
    memory.put(id="deleted", status="deleted")
    answers = []
    for image_id in ("hidden", "deleted", "absent"):
        response = memory.request(f"/v1/images/{image_id}", method=method, caller=OTHER)
        body = response.body.replace(image_id.encode(), b"ID")
        headers = [pair for pair in response.headerlist if pair[0] != "Content-Length"]
        answers.append((response.status, headers, body))
    assert answers[0] == answers[1] == answers[2]


@pytest.mark.wire("who-deleted")
@pytest.mark.parametrize(
    "fields",
    [
        {"deleted": True},
        {"status": "deleted"},
        {"status": "pending_delete"},
        {"status": "deactivated", "deleted": True},
    ],
)
def test_deleted(memory: Memory, fields: dict[str, Any]) -> None:
    memory.put(owner="p1", **fields)
    assert both(memory, caller=MEMBER) == (404, 404)
    assert both(memory, caller=ADMIN) == (404, 200)
    assert b"is not active" in memory.get(caller=ADMIN).body


@pytest.mark.wire("who-get-image")
def test_refused_by_get_image(tmp_path: Path) -> None:
    memory = Memory(tmp_path, rules='"get_image": "name:%(name)s or \'ok\':%(name)s"')
    memory.put(name="not ok")
    assert both(memory) == (403, 403)
    memory.put(name="ok")
    assert both(memory) == (200, 200)


@pytest.mark.wire("who-deactivated")
def test_deactivated(memory: Memory) -> None:
    memory.put(status="deactivated")
    assert both(memory) == (403, 200)
    assert both(memory, caller=ADMIN) == (403, 200)


@pytest.mark.wire("who-not-active")
@pytest.mark.parametrize("status", ["queued", "saving", "killed", "uploading", "importing"])
def test_not_active(memory: Memory, status: str) -> None:
    memory.put(status=status)
    assert both(memory) == (404, 200)


@pytest.mark.wire("who-download-image")
def test_refused_by_download_image(tmp_path: Path) -> None:
    memory = refusing(tmp_path, "download_image")
    memory.put()
    assert both(memory) == (403, 200)
    assert memory.store.opened == 0


@pytest.mark.wire("who-download-image")
def test_properties_and_fields_are_in_the_target(tmp_path: Path) -> None:
    rule = "'yes':%(licensed)s and 'qcow2':%(disk_format)s and project_id:%(owner)s"
    memory = Memory(tmp_path, rules=f'"download_image": "{rule}"')
    memory.put(disk_format="qcow2", owner="p1", properties={"licensed": "yes"})
    assert both(memory, caller=MEMBER) == (200, 200)
    assert both(memory, caller=OTHER) == (403, 200)
    memory.put(disk_format="qcow2", owner="p1", properties={"licensed": "no"})
    assert both(memory, caller=MEMBER) == (403, 200)


@pytest.mark.wire("who-active")
def test_active(memory: Memory) -> None:
    memory.put()
    assert both(memory) == (200, 200)


@pytest.mark.wire("who-order")
def test_first_row_that_fits_answers(tmp_path: Path) -> None:
    memory = refusing(tmp_path, "get_image", "download_image")
    memory.put(status="deactivated")
    assert both(memory) == (403, 403)
    memory = refusing(tmp_path, "download_image")
    memory.put(status="queued")
    assert both(memory) == (404, 200)


@pytest.mark.wire("who-may-know")
@pytest.mark.parametrize(
    ("fields", "knows"),
    [
        ({"is_public": True}, [NOBODY, MEMBER, OTHER, ADMIN]),
        ({"is_public": False}, [ADMIN]),
        ({"is_public": False, "owner": "p1"}, [MEMBER, ADMIN]),
        ({"is_public": False, "owner": "p1", "members": frozenset({"p2"})}, [MEMBER, OTHER, ADMIN]),
        ({"is_public": False, "owner": "", "members": frozenset({""})}, [ADMIN]),
    ],
)
def test_who_may_know(memory: Memory, fields: dict[str, Any], knows: list[Caller]) -> None:
    memory.put(**fields)
    for caller in (NOBODY, Caller(project_id=""), MEMBER, OTHER, ADMIN):
        known = caller in knows or (NOBODY in knows)
        assert both(memory, caller=caller) == ((200, 200) if known else (404, 404)), caller


@pytest.mark.wire("who-may-know")
def test_registry_may_have_decided_already(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.put(is_public=False)
    monkeypatch.setattr(type(memory.registry), "decides_visibility", True)
    assert both(memory) == (200, 200)
    memory.put(status="deleted")
    assert both(memory) == (404, 404)


@pytest.mark.wire("who-admin")
def test_admin_is_not_spared_the_policy(tmp_path: Path) -> None:
    memory = refusing(tmp_path, "get_image")
    memory.put()
    assert both(memory, caller=ADMIN) == (403, 403)
    memory.put(deleted=True)
    assert both(memory, caller=ADMIN) == (403, 403)
    memory = refusing(tmp_path, "download_image")
    memory.put()
    assert both(memory, caller=ADMIN) == (403, 200)


@pytest.mark.wire("who-missing-values")
@pytest.mark.parametrize("rule", ["project_id:%(owner)s", "user_id:%(owner)s", "None:%(owner)s"])
def test_missing_value_never_equals_a_missing_value(tmp_path: Path, rule: str) -> None:
    memory = Memory(tmp_path, rules=f'"download_image": "{rule}"')
    memory.put(owner=None)
    assert both(memory) == (403, 200)
    memory.put(owner=None, properties={"owner": "None"})
    assert both(memory) == (403, 200)


@pytest.mark.wire("who-missing-values")
@pytest.mark.parametrize("name", ["owner", "project_id", "visibility", "status", "locations"])
def test_property_never_shadows_a_field(tmp_path: Path, name: str) -> None:
    memory = Memory(tmp_path, rules=f'"download_image": "\'forged\':%({name})s"')
    memory.put(owner=None, properties={name: "forged"})
    assert both(memory, caller=MEMBER) == (403, 200)


@pytest.mark.wire("who-empty")
@pytest.mark.parametrize("range_header", [None, "bytes=0-1", "bytes=-1", "bytes=5-"])
def test_data_of_size_0(memory: Memory, range_header: str | None) -> None:
    memory.put(b"", owner="p1")
    response = memory.get(**({"Range": range_header} if range_header else {}))
    assert response.status_code == 200
    assert response.headers["Content-Length"] == "0"
    assert response.body == b""
    assert memory.request().headerlist == memory.head().headerlist
    assert memory.store.opened == 0


@pytest.mark.wire("who-active")
def test_failing_policy_refuses(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    memory.put()
    policy = memory.api.backends.policy.backend
    for answer in (1, "yes", None, object()):
        monkeypatch.setattr(policy, "allows", lambda *args, answer=answer: answer)
        assert both(memory) == (403, 403)

    def fail(*args: Any) -> bool:
        raise RuntimeError("a bug")

    monkeypatch.setattr(policy, "allows", fail)
    assert both(memory) == (403, 403)
    record = caplog.records[-1]
    assert record.getMessage() == "policy 'visible' failed, so get_image is refused"
    assert record.exc_info is not None


@pytest.mark.wire("who-policy-unavailable")
def test_policy_that_cannot_decide_is_503(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    memory.put(is_public=False, owner="p1")
    error = BackendUnavailable("the rules cannot be read", retry_after=7)

    def fail(*args: Any) -> bool:
        raise error

    monkeypatch.setattr(memory.api.backends.policy.backend, "allows", fail)
    paths = ("images/i", "images/i?format=json", "images/absent", "images/i/members")
    for path in (*paths, "images", "images/detail", "shared-images/p1"):
        for caller in (NOBODY, MEMBER, ADMIN):
            caplog.clear()
            answer = memory.get(f"/v1/{path}", caller=caller)
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "7")
            (record,) = caplog.records
            told = "policy 'visible' cannot decide get_image"
            assert record.getMessage().startswith(told)
            assert record.getMessage().endswith(": the rules cannot be read")
            assert record.exc_info is None
    # A hidden image and an absent one have the same answer, except for their ids.
    hidden, absent = (memory.get(f"/v1/images/{one}") for one in ("i", "absent"))
    assert hidden.body.replace(b"Image i ", b"") == absent.body.replace(b"Image absent ", b"")
    error.retry_after = None
    assert memory.head().headers["Retry-After"] == "30"


@pytest.mark.wire("who-policy-unavailable")
def test_policy_that_cannot_decide_on_the_data(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.put()

    def allows(action: str, *_: Any) -> bool:
        if action == "download_image":
            raise BackendUnavailable("no answer")
        return True

    monkeypatch.setattr(memory.api.backends.policy.backend, "allows", allows)
    assert both(memory) == (503, 503)
    assert memory.get("/v1/images/i?format=json").status_code == 200
    assert memory.store.opened == 0


@pytest.mark.wire("who-may-know")
@pytest.mark.wire("data-forbidden")
def test_backends_are_told_who_asks(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.put(b"data")
    told: list[object] = []
    gets, opens = memory.registry.get, memory.store.open

    def get(image_id: str, caller: Any) -> Any:
        told.append(caller)
        return gets(image_id, caller)

    def open_for(location: Any, **asked: Any) -> Any:
        told.append(asked["caller"])
        return opens(location, **asked)

    monkeypatch.setattr(memory.registry, "get", get)
    monkeypatch.setattr(memory.store, "open", open_for)
    assert memory.get(caller=MEMBER).body == b"data"
    assert told == [MEMBER, MEMBER]


@pytest.mark.wire("who-may-know")
@pytest.mark.parametrize("roles", ["member", "admin"])
@pytest.mark.parametrize("trusted", [False, True])
def test_forged_headers_give_nothing(memory: Memory, roles: str, trusted: bool) -> None:
    """Identity headers of a client count only after keystonemiddleware has confirmed them."""
    memory.put(is_public=False, owner="p1")
    request = webob.Request.blank(
        "/v1/images/i",
        headers={
            "X-Identity-Status": "Confirmed",
            "X-User-Id": "u1",
            "X-Project-Id": "p1",
            "X-Roles": roles,
            "X-Auth-Token": "t",
            "Keystone.Token-Auth": "x",
            "Imageapi.Caller": "x",
        },
    )
    if trusted:
        request.environ["keystone.token_auth"] = object()
    assert request.send(memory.api).status_code == (200 if trusted else 404)
