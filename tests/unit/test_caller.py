# SPDX-License-Identifier: Apache-2.0
from typing import Any

import pytest

from imageapi.caller import ANONYMOUS, Caller, from_environ
from imageapi.errors import BackendError

IDENTITY = {
    "HTTP_X_IDENTITY_STATUS": "Confirmed",
    "HTTP_X_USER_ID": "u",
    "HTTP_X_PROJECT_ID": "p",
    "HTTP_X_ROLES": "Member, ADMIN,,",
    "HTTP_X_AUTH_TOKEN": "t0ken",
}


def test_headers_alone_give_nothing() -> None:
    """They give only a token, which is no identity until an upstream has checked it."""
    assert from_environ(IDENTITY, ["admin"]) == Caller(token="t0ken")
    without = {name: text for name, text in IDENTITY.items() if name != "HTTP_X_AUTH_TOKEN"}
    assert from_environ(without, ["admin"]) is ANONYMOUS


def test_confirmed_by_keystonemiddleware() -> None:
    caller = from_environ({**IDENTITY, "keystone.token_auth": object()}, ["admin"])
    assert caller == Caller(
        user_id="u", project_id="p", roles=("Member", "ADMIN"), is_admin=True, token="t0ken"
    )


@pytest.mark.parametrize("status", ["Invalid", "", "confirmed", None])
def test_not_confirmed(status: str | None) -> None:
    environ: dict[str, Any] = {**IDENTITY, "keystone.token_auth": object()}
    environ["HTTP_X_IDENTITY_STATUS"] = status
    assert from_environ(environ, ["admin"]) is ANONYMOUS


@pytest.mark.parametrize("status", ["Invalid", "", "confirmed"])
def test_service_token_that_is_none(status: str) -> None:
    environ: dict[str, Any] = {**IDENTITY, "keystone.token_auth": object()}
    environ["HTTP_X_SERVICE_IDENTITY_STATUS"] = status
    assert from_environ(environ, ["admin"]) is ANONYMOUS
    environ["HTTP_X_SERVICE_IDENTITY_STATUS"] = "Confirmed"
    assert from_environ(environ, ["admin"]).user_id == "u"


def test_older_name_of_the_project() -> None:
    environ: dict[str, Any] = {**IDENTITY, "keystone.token_auth": object()}
    environ["HTTP_X_TENANT_ID"] = environ.pop("HTTP_X_PROJECT_ID")
    assert from_environ(environ, ["admin"]).project_id == "p"


@pytest.mark.parametrize(
    ("admin_roles", "is_admin"), [(["Admin"], True), (["root"], False), ([], False), ([""], False)]
)
def test_admin_roles_are_compared_without_case(admin_roles: list[str], is_admin: bool) -> None:
    environ = {**IDENTITY, "keystone.token_auth": object()}
    assert from_environ(environ, admin_roles).is_admin is is_admin


def test_what_the_embedding_application_put_there_comes_first() -> None:
    given = Caller(user_id="mine")
    environ = {**IDENTITY, "keystone.token_auth": object(), "imageapi.caller": given}
    assert from_environ(environ, ["admin"]) is given


def test_embedding_application_is_told_its_mistake() -> None:
    with pytest.raises(BackendError, match=r"must be an imageapi\.Caller, not dict"):
        from_environ({"imageapi.caller": {"roles": ["admin"]}}, [])


def test_token_is_not_shown() -> None:
    assert "t0ken" not in repr(Caller(token="t0ken")) + str(Caller(token="t0ken"))
