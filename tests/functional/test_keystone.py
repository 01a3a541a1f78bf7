# SPDX-License-Identifier: Apache-2.0
"""examples/keystone-paste.ini and keystone_app.py, with a real Keystone."""

import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import pytest

from tests.deployment import Deployment
from tests.functional.downloads import ACCEPTED, DOWNLOADS, large_images
from tests.functional.http_client import ask, begin
from tests.functional.openstack import Keystone, hasty_keystone
from tests.functional.servers import Running
from tests.functional.wsgi_servers import gunicorn, replaced
from tests.paths import EXAMPLES

pytestmark = pytest.mark.timeout(300)

# For how many seconds the tokens of the hasty Keystone are valid. If that is too short to use
# a token once on a busy machine, the test tries the next number.
SECONDS = (4, 16, 48)

POLICY = """"download_image": "not 'yes':%(guarded)s or role:image_reader"\n"""

NO_DELAY = ("delay_auth_decision = true\n", "")

FORGED = {
    "X-Identity-Status": "Confirmed",
    "X-Service-Identity-Status": "Confirmed",
    "X-User-Id": "chief",
    "X-Roles": "admin,image_reader",
    "X-Service-Roles": "admin,service",
    "X-Is-Admin-Project": "True",
}


class Fronts(NamedTuple):
    """The servers, and the users.

    :ivar delayed, strict: servers by keystone-paste.ini: as it stands, and without
        delay_auth_decision.
    :ivar lax: by keystone_app.py, strict, but with any token as a service token.
    """

    delayed: Running
    strict: Running
    lax: Running
    keystone: Keystone
    projects: dict[str, str]
    tokens: dict[str, str]
    deployment: Deployment


@contextmanager
def served_by_paste(
    deployment: Deployment, identity: Keystone, *changes: tuple[str, str]
) -> Iterator[Running]:
    """Run a copy of the example with some of its text replaced."""
    text = (EXAMPLES / "keystone-paste.ini").read_text()
    here = (
        ("https://keystone.example.com/v3", identity.url),
        ("SECRET", "imageapi"),
        ("%(here)s/imageapi.conf", str(deployment.config_file)),
    )
    paste = deployment.folder / f"paste-{len(list(deployment.folder.iterdir()))}.ini"
    paste.write_text(replaced(text, *here, *changes))
    with gunicorn("--workers=1", "--paste", str(paste))(deployment) as server:
        yield server


@contextmanager
def by_one_file(
    deployment: Deployment, identity: Keystone, *changes: tuple[str, str]
) -> Iterator[Running]:
    text = (EXAMPLES / "keystone-paste.ini").read_text()
    settings = text[text.index("www_authenticate_uri") : text.index("[app:images]")]
    here = (("https://keystone.example.com/v3", identity.url), ("SECRET", "imageapi"))
    shutil.copy(EXAMPLES / "keystone_app.py", deployment.folder)
    with deployment.config_file.open("a") as file:
        file.write("[keystone_authtoken]\n" + replaced(settings, *here, *changes))
    words = ("--workers=1", "--pythonpath", str(deployment.folder), "keystone_app:application")
    with gunicorn(*words)(deployment) as server:
        yield server


@pytest.fixture(scope="module")
def fronts(
    identity: Keystone, projects: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fronts]:
    with ExitStack() as stack:
        tokens = {
            user: identity.token(user, "service" if user == "imageapi" else f"project-of-{user}")
            for user in ("ann", "ben", "reader", "chief", "imageapi")
        }
        deployment = stack.enter_context(large_images(tmp_path_factory.mktemp("images") / "images"))
        (deployment.folder / "policy.yaml").write_text(POLICY)
        with deployment.config_file.open("a") as file:
            file.write("[imageapi_policy_rules]\npolicy_file = policy.yaml\n")
        deployment.add("public", b"data")
        deployment.add("of-ann", b"data", is_public=False, owner=projects["ann"])
        deployment.add("guarded", b"data", properties={"guarded": "yes"})
        lax = ("delay_auth_decision = true", "service_token_roles_required = false")
        yield Fronts(
            delayed=stack.enter_context(served_by_paste(deployment, identity)),
            strict=stack.enter_context(served_by_paste(deployment, identity, NO_DELAY)),
            lax=stack.enter_context(by_one_file(deployment, identity, lax)),
            keystone=identity,
            projects=projects,
            tokens=tokens,
            deployment=deployment,
        )


@pytest.fixture(scope="module")
def expired(fronts: Fronts) -> str:
    """A token of ann that was accepted once, and has expired."""
    # The first request takes longer.
    assert status_of_download(fronts.delayed, "of-ann", fronts.tokens["ann"]) == 200
    for seconds in SECONDS:
        with hasty_keystone(fronts.keystone, seconds) as hasty:
            token = hasty.token("ann", "project-of-ann")
            issued = time.monotonic()
            if status_of_download(fronts.delayed, "of-ann", token) == 200:
                time.sleep(max(0, issued + seconds + 1 - time.monotonic()))
                return token
    raise AssertionError("no token was accepted before it expired")


def status_of_download(
    server: Running, image_id: str, token: str = "", service: str = "", **more: str
) -> int:
    """The status of an answer; if it is 200, the body must be the image's data."""
    headers = {"X-Auth-Token": token, "X-Service-Token": service, **more}
    with server.connection() as connection:
        sent = {name: text for name, text in headers.items() if text}
        response = begin(connection, f"/v1/images/{image_id}", **sent)
        body = response.read()
        assert response.status != 200 or body == b"data"
        return response.status


@pytest.mark.parametrize("server", ["delayed", "strict"])
class TestToken:
    def test_the_project_has_its_private_image(self, fronts: Fronts, server: str) -> None:
        running: Running = getattr(fronts, server)
        assert status_of_download(running, "of-ann", fronts.tokens["ann"]) == 200
        assert status_of_download(running, "of-ann", fronts.tokens["ben"]) == 404

    def test_rule_on_a_role(self, fronts: Fronts, server: str) -> None:
        running: Running = getattr(fronts, server)
        assert status_of_download(running, "guarded", fronts.tokens["reader"]) == 200
        assert status_of_download(running, "guarded", fronts.tokens["ben"]) == 403

    def test_admin_may_know_of_all_and_is_asked_by_the_policy(
        self, fronts: Fronts, server: str
    ) -> None:
        running: Running = getattr(fronts, server)
        assert status_of_download(running, "of-ann", fronts.tokens["chief"]) == 200
        assert status_of_download(running, "guarded", fronts.tokens["chief"]) == 403

    def test_expired(self, fronts: Fronts, server: str, expired: str) -> None:
        refused = 404 if server == "delayed" else 401
        assert status_of_download(getattr(fronts, server), "of-ann", expired) == refused

    def test_revoked(self, fronts: Fronts, server: str) -> None:
        refused = 404 if server == "delayed" else 401
        token = fronts.keystone.token("ann", "project-of-ann")
        fronts.keystone.revoke(token)
        assert status_of_download(getattr(fronts, server), "of-ann", token) == refused

    def test_forged(self, fronts: Fronts, server: str) -> None:
        refused = 404 if server == "delayed" else 401
        token = fronts.tokens["ann"]
        middle = len(token) // 2
        other = "A" if token[middle] != "A" else "B"
        for forged in ("ann", token[:-10], token[:middle] + other + token[middle + 1 :]):
            assert status_of_download(getattr(fronts, server), "of-ann", forged) == refused

    def test_forged_identity_headers(self, fronts: Fronts, server: str) -> None:
        running: Running = getattr(fronts, server)
        forged = {**FORGED, "X-Project-Id": fronts.projects["ann"]}
        refused = 404 if server == "delayed" else 401
        for more in (forged, {**forged, "X-Tenant-Id": fronts.projects["ann"]}):
            assert status_of_download(running, "of-ann", **more) == refused
            assert status_of_download(running, "of-ann", fronts.tokens["ben"], **more) == 404
            assert status_of_download(running, "guarded", fronts.tokens["ben"], **more) == 403


def test_one_file_for_both(fronts: Fronts) -> None:
    assert status_of_download(fronts.lax, "of-ann", fronts.tokens["ann"]) == 200
    assert status_of_download(fronts.lax, "of-ann", fronts.tokens["ben"]) == 404
    assert status_of_download(fronts.lax, "guarded", fronts.tokens["reader"]) == 200
    assert status_of_download(fronts.lax, "guarded", fronts.tokens["ben"]) == 403
    assert status_of_download(fronts.lax, "public", "forged") == 401


def test_token_that_was_revoked_after_it_was_seen(fronts: Fronts) -> None:
    """It is cached for token_cache_time, which is five minutes by default."""
    token = fronts.keystone.token("ann", "project-of-ann")
    assert status_of_download(fronts.delayed, "of-ann", token) == 200
    fronts.keystone.revoke(token)
    assert status_of_download(fronts.delayed, "of-ann", token) == 200


def test_anonymous_where_the_decision_is_delayed(fronts: Fronts) -> None:
    for token in ("", "forged"):
        assert status_of_download(fronts.delayed, "public", token) == 200
        assert status_of_download(fronts.delayed, "of-ann", token) == 404
        assert status_of_download(fronts.delayed, "guarded", token) == 403


def test_nobody_is_anonymous_where_it_is_not(fronts: Fronts) -> None:
    for token in ("", "forged"):
        for image_id in ("public", "of-ann", "absent"):
            assert status_of_download(fronts.strict, image_id, token) == 401
    told = ask(fronts.strict.port, "/v1/images/public").headers["WWW-Authenticate"]
    assert told == f'Keystone uri="{fronts.keystone.url}"'


def test_keystone_that_is_away(fronts: Fronts) -> None:
    away = (fronts.keystone.url, "http://127.0.0.1:1/v3")
    token = fronts.tokens["ann"]
    with served_by_paste(fronts.deployment, fronts.keystone, away) as delayed:
        assert status_of_download(delayed, "public", token) == 200
        assert status_of_download(delayed, "of-ann", token) == 404
    with served_by_paste(fronts.deployment, fronts.keystone, away, NO_DELAY) as strict:
        assert status_of_download(strict, "public", token) == 503


class TestServiceToken:
    def test_lets_an_expired_token_go_on(self, fronts: Fronts, expired: str) -> None:
        for server in (fronts.delayed, fronts.strict, fronts.lax):
            assert status_of_download(server, "of-ann", expired, fronts.tokens["imageapi"]) == 200

    def test_gives_the_user_nothing_else(self, fronts: Fronts) -> None:
        for service in ("imageapi", "chief"):
            token = fronts.tokens[service]
            assert status_of_download(fronts.lax, "of-ann", fronts.tokens["ben"], token) == 404
        assert (
            status_of_download(fronts.lax, "guarded", fronts.tokens["ben"], fronts.tokens["reader"])
            == 403
        )

    @pytest.mark.parametrize("service", ["imageapi", "chief"])
    def test_alone_makes_nobody_anything(self, fronts: Fronts, service: str) -> None:
        token = fronts.tokens[service]
        for refused in ("of-ann", "absent"):
            assert status_of_download(fronts.delayed, refused, service=token) == 404
        assert status_of_download(fronts.delayed, "guarded", service=token) == 403
        assert status_of_download(fronts.delayed, "public", service=token) == 200
        for server in (fronts.strict, fronts.lax):
            assert status_of_download(server, "of-ann", service=token) == 401

    def test_without_the_role_is_none(self, fronts: Fronts, expired: str) -> None:
        """Then the user's token does not count either."""
        token = fronts.tokens["ben"]
        assert status_of_download(fronts.strict, "of-ann", fronts.tokens["ann"], token) == 401
        assert status_of_download(fronts.delayed, "of-ann", fronts.tokens["ann"], token) == 404
        assert status_of_download(fronts.delayed, "public", fronts.tokens["ann"], token) == 200
        assert status_of_download(fronts.strict, "of-ann", expired, token) == 401

    def test_without_the_role_where_none_is_required(self, fronts: Fronts, expired: str) -> None:
        """It counts, but does not make an expired token valid."""
        token = fronts.tokens["ben"]
        assert status_of_download(fronts.lax, "of-ann", fronts.tokens["ann"], token) == 200
        assert status_of_download(fronts.lax, "of-ann", expired, token) == 401

    def test_forged(self, fronts: Fronts, expired: str) -> None:
        assert status_of_download(fronts.strict, "of-ann", fronts.tokens["ann"], "forged") == 401
        assert status_of_download(fronts.delayed, "of-ann", fronts.tokens["ann"], "forged") == 404
        assert status_of_download(fronts.delayed, "of-ann", expired, "forged") == 404


@pytest.mark.parametrize("download", DOWNLOADS)
def test_downloads_go_through(fronts: Fronts, download: str) -> None:
    assert DOWNLOADS[download](fronts.delayed, fronts.deployment) in ACCEPTED[download]


def test_no_token_is_logged(fronts: Fronts, expired: str) -> None:
    log = (fronts.deployment.folder / "server.log").read_text()
    assert "Invalid user token" in log or "Authorization failed" in log
    for secret in (*fronts.tokens.values(), expired):
        assert secret not in log
