# SPDX-License-Identifier: Apache-2.0
"""Who may know of an image; docs/wire.md says what each answer looks like."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import pytest
import webob
from webob import exc

from imageapi.authorization import Authorization, PolicyUnavailable
from imageapi.caller import ANONYMOUS, Caller
from imageapi.errors import (
    BackendError,
    BackendUnavailable,
    BadReply,
    ImageNotFound,
    MalformedImage,
)
from imageapi.image import Image
from imageapi.policy.base import DOWNLOAD_IMAGE, GET_IMAGE
from imageapi.visibility import Visibility
from tests.memory import ADMIN, MEMBER, OTHER, Memory

STRANGER = Caller(user_id="u3", project_id="p3")
NO_PROJECT = Caller(user_id="u4", project_id="")
SHARED = Image(id="i", status="active", owner="p1", members=frozenset({"p2"}))


@pytest.fixture
def auth(memory: Memory) -> Authorization:
    return Authorization(memory.api.backends)


def fail_registry(memory: Memory, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Let the registry raise an error."""

    def get(image_id: str, caller: Caller) -> Image:
        raise error

    monkeypatch.setattr(memory.registry, "get", get)


@pytest.mark.parametrize(
    ("visibility", "known_to"),
    [
        (Visibility(is_public=True), [ANONYMOUS, NO_PROJECT, MEMBER, OTHER, STRANGER, ADMIN]),
        (SHARED, [MEMBER, OTHER, ADMIN]),
        (SHARED.visibility, [MEMBER, OTHER, ADMIN]),
        (Visibility(owner="", members=frozenset({""})), [ADMIN]),
        (Visibility(is_public=True, is_deleted=True, owner="p1"), [ADMIN]),
        (Image(id="i", status="pending_delete", is_public=True), [ADMIN]),
        (Image(id="i", status="active", is_public=True, deleted=True), [ADMIN]),
    ],
)
def test_who_may_know(
    auth: Authorization, visibility: Image | Visibility, known_to: list[Caller]
) -> None:
    for caller in (ANONYMOUS, NO_PROJECT, MEMBER, OTHER, STRANGER, ADMIN):
        assert auth.may_know(visibility, caller) == (caller in known_to), caller


def test_registry_may_decide_but_for_deleted_images(
    auth: Authorization, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(memory.registry), "decides_visibility", True)
    assert auth.may_know(SHARED, ANONYMOUS)
    assert not auth.may_know(Visibility(is_public=True, is_deleted=True), ANONYMOUS)


def test_finds_an_image_that_the_caller_may_know_of(auth: Authorization, memory: Memory) -> None:
    memory.registry.put(SHARED)
    assert auth.find("i", MEMBER, ()) is SHARED


@pytest.mark.parametrize("image_id", ["i", "absent"])
def test_hidden_image_is_as_an_absent_one(
    auth: Authorization, memory: Memory, image_id: str
) -> None:
    memory.registry.put(SHARED)
    with pytest.raises(exc.HTTPNotFound, match=image_id):
        auth.find(image_id, STRANGER, (GET_IMAGE,))


def test_policy_is_asked_before_the_answer_says_that_an_image_is_absent(
    auth: Authorization, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, dict[str, object]]] = []

    def allows(action: str, caller: Caller, target: Mapping[str, object]) -> bool:
        asked.append((action, dict(target)))
        return action == GET_IMAGE

    monkeypatch.setattr(memory.api.backends.policy.backend, "allows", allows)
    memory.registry.put(SHARED)
    with pytest.raises(exc.HTTPForbidden):
        auth.find("i", STRANGER, (GET_IMAGE, DOWNLOAD_IMAGE))
    assert asked == [(GET_IMAGE, {}), (DOWNLOAD_IMAGE, {})]


@pytest.mark.parametrize("error", [BackendUnavailable("nobody there"), BadReply("no JSON")])
def test_failure_of_the_registry(
    auth: Authorization,
    memory: Memory,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: BackendError,
) -> None:
    fail_registry(memory, monkeypatch, error)
    with pytest.raises(type(error)):
        auth.find("i", ANONYMOUS, ())
    assert str(error) in caplog.text


@pytest.mark.parametrize("kind", [MalformedImage, BadReply])
@pytest.mark.parametrize(
    ("caller", "tells"), [(MEMBER, True), (STRANGER, False), (ANONYMOUS, False), (ADMIN, True)]
)
def test_malformed_record_tells_nothing_to_a_stranger(
    auth: Authorization,
    memory: Memory,
    monkeypatch: pytest.MonkeyPatch,
    caller: Caller,
    tells: bool,
    kind: type[Any],
) -> None:
    fail_registry(memory, monkeypatch, kind("size: no number", Visibility(owner="p1")))
    with pytest.raises(kind if tells else exc.HTTPNotFound):
        auth.find("i", caller, ())


@pytest.mark.parametrize(("decides", "tells"), [(False, False), (True, True)])
def test_malformed_record_of_which_nothing_is_known(
    auth: Authorization,
    memory: Memory,
    monkeypatch: pytest.MonkeyPatch,
    decides: bool,
    tells: bool,
) -> None:
    monkeypatch.setattr(type(memory.registry), "decides_visibility", decides)
    fail_registry(memory, monkeypatch, MalformedImage("no JSON"))
    with pytest.raises(MalformedImage if tells else exc.HTTPNotFound):
        auth.find("i", MEMBER, ())


def test_registry_that_raises_another_error(
    auth: Authorization,
    memory: Memory,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fail_registry(memory, monkeypatch, KeyError("name"))
    with pytest.raises(BackendError, match="registry 'memory' raised KeyError"):
        auth.find("i", ANONYMOUS, ())
    (record,) = caplog.records
    assert record.getMessage() == "image 'i': registry 'memory' raised KeyError"
    assert record.exc_info is not None


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (None, "get() must return an imageapi.Image, not NoneType"),
        (SHARED, "get() returned another image, 'i'"),
    ],
)
def test_registry_that_returns_something_else(
    auth: Authorization,
    memory: Memory,
    monkeypatch: pytest.MonkeyPatch,
    answer: Any,
    told: str,
) -> None:
    monkeypatch.setattr(memory.registry, "get", lambda *_: answer)
    with pytest.raises(BackendError) as caught:
        auth.find("other", ADMIN, ())
    assert told in str(caught.value)


def test_another_image_tells_nothing_to_a_stranger(
    auth: Authorization, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory.registry, "get", lambda *_: SHARED)
    with pytest.raises(exc.HTTPNotFound):
        auth.find("other", STRANGER, ())


@pytest.mark.parametrize("answer", [1, "yes", None, object(), False])
def test_only_true_allows(
    auth: Authorization, memory: Memory, monkeypatch: pytest.MonkeyPatch, answer: object
) -> None:
    monkeypatch.setattr(memory.api.backends.policy.backend, "allows", lambda *_: answer)
    assert auth.allows(GET_IMAGE, ADMIN) is False


def test_policy_that_fails_refuses(
    auth: Authorization,
    memory: Memory,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fail = Mock(side_effect=ImageNotFound("a bug"))
    monkeypatch.setattr(memory.api.backends.policy.backend, "allows", fail)
    assert auth.allows(GET_IMAGE, ADMIN) is False
    assert caplog.messages == ["policy 'visible' failed, so get_image is refused"]


def test_policy_that_cannot_decide_for_now(
    auth: Authorization,
    memory: Memory,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fail = Mock(side_effect=BackendUnavailable("no answer", retry_after=3))
    monkeypatch.setattr(memory.api.backends.policy.backend, "allows", fail)
    with pytest.raises(PolicyUnavailable) as caught:
        auth.find("absent", ANONYMOUS, (GET_IMAGE,))
    assert caught.value.retry_after == 3
    assert caplog.messages == ["policy 'visible' cannot decide get_image: no answer"]
    assert caplog.messages == [str(caught.value)]
    assert caplog.records[0].exc_info is None


def test_caller_of_a_request(auth: Authorization, caplog: pytest.LogCaptureFixture) -> None:
    request = webob.Request.blank("/")
    assert auth.caller(request) == ANONYMOUS
    request.environ["imageapi.caller"] = MEMBER
    assert auth.caller(request) is MEMBER
    request.environ["imageapi.caller"] = "p1"
    with pytest.raises(BackendError, match=r"must be an imageapi\.Caller, not str"):
        auth.caller(request)
    assert "correct the application that set it" in caplog.text


def test_roles_that_make_an_admin(memory: Memory) -> None:
    auth = Authorization(replace(memory.api.backends, admin_roles=("Operator",)))
    request = webob.Request.blank("/", headers={"X-Identity-Status": "Confirmed"})
    request.environ["keystone.token_auth"] = object()
    for roles, is_admin in (("admin", False), ("member, OPERATOR", True)):
        request.headers["X-Roles"] = roles
        assert auth.caller(request).is_admin is is_admin


def test_image_as_a_caller_is_shown_it(auth: Authorization) -> None:
    image = Image(id="i", status="active", properties={"os_glance_x": 1, "a": 2})
    assert dict(auth.shown(image, ADMIN).properties) == {"a": 2}
    assert auth.reader(ADMIN).shown(image) == auth.shown(image, ADMIN)


def test_properties_without_names_are_a_bug_of_the_registry(
    auth: Authorization, caplog: pytest.LogCaptureFixture
) -> None:
    properties: Any = {}
    image = Image(id="i", status="active", properties=properties)
    # The registry changes what it has returned.
    properties[5] = "x"
    with pytest.raises(BackendError, match="registry 'memory' raised TypeError"):
        auth.shown(image, MEMBER)
    (record,) = caplog.records
    assert record.getMessage().startswith("image 'i': ")
