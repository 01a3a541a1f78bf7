# SPDX-License-Identifier: Apache-2.0
"""Property protections, beside a real Glance with the same file and the same callers."""

import json
import os
import signal
import sqlite3
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from imageapi import Caller
from tests.deployment import Deployment
from tests.functional.openstack import Keystone, call, glance
from tests.functional.servers import running_imageapi
from tests.functional.waiting import wait_until
from tests.memory import Memory
from tests.property_protections import protection_file

pytestmark = pytest.mark.timeout(300)

BY_ROLES = {
    "^billing_x$": "!",
    "billing_": "Auditor , admin",
    "^Case$|^none$": "MEMBER",
    "^case$": "@",
    "^empty": "",
    "[0-9]$": "reader",
}
BY_RULES = {
    "^billing_x$": "!",
    "billing_": "auditors",
    "^Case$|^none$": "members",
    "^case$": "@",
    "^empty": "",
    "[0-9]$": "readers_of_project",
}
RULES = """\
"get_image": "@"
"get_images": "@"
"auditors": "role:auditor or role:admin"
"members": "role:member and not role:admin"
"readers_of_project": "project_id:%(owner)s or (role:reader and not role:member)"
"""
PROPERTIES = dict.fromkeys(
    "billing_ billing_x my_billing_code Billing_x Case case cases none empty1 a1 a1b".split(), "x"
)
USERS = {"accountant": "auditor", "seller": "member", "visitor": "reader", "operator": "admin"}


class ProtectedCloud(NamedTuple):
    """A Glance, the rules and the file that it shares with imageapi, and the callers."""

    url: str
    folder: Path
    rule_format: str
    tokens: dict[str, str]
    callers: dict[str, Caller]


@pytest.fixture(scope="module")
def tokens(identity: Keystone) -> dict[str, str]:
    """A token of each user."""
    identity.role("auditor")
    return {user: logged_in(identity, user, role) for user, role in USERS.items()}


@pytest.fixture(scope="module", params=["roles", "policies"])
def protected_cloud(
    request: pytest.FixtureRequest,
    identity: Keystone,
    tokens: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ProtectedCloud]:
    folder = tmp_path_factory.mktemp("glance")
    rule_format = request.param
    (folder / "policy.yaml").write_text(RULES)
    path = protection_file(folder, BY_ROLES if rule_format == "roles" else BY_RULES)
    callers = {user: caller_of(identity, token) for user, token in tokens.items()}
    more = f"property_protection_file = {path}\nproperty_protection_rule_format = {rule_format}"
    with glance(folder, identity, more) as url:
        yield ProtectedCloud(url, folder, rule_format, tokens, callers)


def logged_in(identity: Keystone, user: str, role: str) -> str:
    project = f"project-of-{user}"
    identity.user(user, identity.project(project), role)
    return identity.token(user, project)


def caller_of(identity: Keystone, token: str) -> Caller:
    """The caller that keystonemiddleware makes of a token, with the implied roles."""
    found = call(f"{identity.url}/auth/tokens", identity.admin, X_Subject_Token=token)["token"]
    roles = tuple(role["name"] for role in found["roles"])
    return Caller(
        user_id=found["user"]["id"],
        project_id=found["project"]["id"],
        roles=roles,
        is_admin="admin" in roles,
    )


def add_properties(database: Path, image_id: str) -> None:
    """Add properties that no caller may create, to an image of Glance."""
    rows = [(image_id, name, value) for name, value in PROPERTIES.items()]
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.executemany(
            "INSERT INTO image_properties (image_id, name, value, created_at, deleted)"
            " VALUES (?, ?, ?, '2010-02-03 09:34:01', 0)",
            rows,
        )


def test_each_caller_is_shown_what_glance_shows(
    protected_cloud: ProtectedCloud, tmp_path: Path
) -> None:
    """In a list, since Glance makes it of the same images as its answer for one image."""
    url, folder, rule_format, tokens, callers = protected_cloud
    fields = {"name": "n", "visibility": "public"}
    image_id = call(f"{url}/v2/images", tokens["operator"], fields)["id"]
    add_properties(folder / "glance.db", image_id)
    memory = Memory(
        tmp_path,
        rules=RULES,
        property_protection_file=folder / "property-protections.conf",
        property_protection_rule_format=rule_format,
    )
    memory.put(id=image_id, properties=PROPERTIES)
    shown = set()
    for user, caller in callers.items():
        (image,) = call(f"{url}/v2/images", tokens[user])["images"]
        expected = frozenset(PROPERTIES) & frozenset(image)
        for path in (f"{image_id}?format=json", "detail"):
            body = memory.get(f"/v1/images/{path}", caller=caller).body
            assert set(json.loads(body)["images"][0]["properties"]) == expected, user
        shown.add(expected)
    assert len(shown) > 2
    memory.api.close()


def test_a_changed_file_is_used_after_a_reload(deployment: Deployment) -> None:
    """``serve`` reads it at SIGHUP, and keeps the old one if the new one is invalid."""
    path = protection_file(deployment.folder, {"^a$": "!", "^b$": "@"})
    deployment.configure(core=f"property_protection_file = {path}")
    deployment.record("i", properties={"a": "1", "b": "2"})
    with running_imageapi(deployment.config_file) as server:
        log = deployment.folder / "server.log"
        assert shown_by(server.port) == {"b"}
        path.write_text("[^a$]\nread = @\n")
        os.kill(server.process.pid, signal.SIGHUP)
        wait_until(lambda: "'create' is missing; add it" in log.read_text(), "not refused")
        assert shown_by(server.port) == {"b"}
        protection_file(deployment.folder, {"^a$": "@"})
        os.kill(server.process.pid, signal.SIGHUP)
        wait_until(lambda: shown_by(server.port) == {"a"}, "the new file is not used")


def shown_by(port: int) -> set[str]:
    """The properties in the headers of the image i."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/images/i", method="HEAD")
    with urllib.request.urlopen(request, timeout=60) as response:
        names = {name.lower() for name in response.headers}
    prefix = "x-image-meta-property-"
    return {name.removeprefix(prefix) for name in names if name.startswith(prefix)}
