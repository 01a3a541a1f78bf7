# SPDX-License-Identifier: Apache-2.0
"""A real Swift behind a real Keystone: v3password and v3applicationcredential."""

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import swiftclient
from oslo_config import cfg

import imageapi
from imageapi.backends.swift.session import session_of
from tests.deployment import close, get
from tests.functional.openstack import Keystone, call
from tests.functional.swift import Swift, running_swift, swift_configuration

DATA = os.urandom(1_000_000)

pytestmark = pytest.mark.timeout(300)


class SwiftCloud(NamedTuple):
    """The servers, and the project of the user ``demo``."""

    keystone: Keystone
    swift: Swift
    project: str

    def password(self, **more: str) -> dict[str, str]:
        return {
            "auth_type": "v3password",
            "auth_url": self.keystone.url,
            "username": "demo",
            "password": "demo",
            "project_name": "demo",
            "user_domain_id": "default",
            "project_domain_id": "default",
            **more,
        }

    def application_credential(self) -> dict[str, str]:
        token = self.keystone.token("demo", "demo")
        me = call(f"{self.keystone.url}/auth/tokens", token, X_Subject_Token=token)
        users = f"{self.keystone.url}/users/{me['token']['user']['id']}"
        body = {"application_credential": {"name": os.urandom(4).hex()}}
        made = call(f"{users}/application_credentials", token, body)["application_credential"]
        return {
            "auth_type": "v3applicationcredential",
            "auth_url": self.keystone.url,
            "application_credential_id": made["id"],
            "application_credential_secret": made["secret"],
        }


@pytest.fixture(scope="module")
def swift_cloud(
    identity: Keystone, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SwiftCloud]:
    with running_swift(tmp_path_factory.mktemp("swift"), identity.url) as swift:
        identity.user("swift", identity.project("service"), "admin")
        project = identity.project("demo")
        identity.user("demo", project, "member")
        call(f"{identity.url}/regions", identity.admin, {"region": {"id": "RegionOne"}})
        service = {"service": {"type": "object-store", "name": "swift"}}
        service_id = call(f"{identity.url}/services", identity.admin, service)["service"]["id"]
        url = f"{swift.url}/v1/AUTH_$(project_id)s"
        for interface, where in (("public", url), ("internal", "http://127.0.0.1:1/internal")):
            endpoint = {"service_id": service_id, "interface": interface, "url": where}
            endpoint["region_id"] = "RegionOne"
            call(f"{identity.url}/endpoints", identity.admin, {"endpoint": endpoint})
        upload(identity, f"{swift.url}/v1/AUTH_{project}")
        yield SwiftCloud(identity, swift, project)


def upload(identity: Keystone, url: str) -> None:
    client = swiftclient.Connection(
        preauthurl=url, preauthtoken=identity.token("demo", "demo"), retries=0
    )
    record = {"status": "active", "is_public": True, "size": len(DATA)}
    record["checksum"] = hashlib.md5(DATA).hexdigest()
    with closing(client):
        for container in ("records", "images"):
            client.put_container(container)
        client.put_object("records", "i.json", json.dumps(record))
        client.put_object("images", "i", DATA)


class ConfiguredAPI(NamedTuple):
    api: imageapi.ImageAPI
    conf: cfg.ConfigOpts

    def token(self) -> str:
        """The current token of registry and store."""
        return session_of(self.conf, "imageapi_store_swift").login().headers["X-Auth-Token"]


@pytest.fixture
def make_configured_api(tmp_path: Path) -> Iterator[Any]:
    made: list[ConfiguredAPI] = []

    def make(options: dict[str, str]) -> ConfiguredAPI:
        path = tmp_path / "imageapi.conf"
        path.write_text(swift_configuration(options))
        conf = imageapi.load_config([path])
        made.append(ConfiguredAPI(imageapi.ImageAPI(conf), conf))
        return made[-1]

    yield make
    for served in made:
        served.api.close()


@pytest.mark.parametrize("how", ["password", "application_credential"])
def test_plugins(swift_cloud: SwiftCloud, make_configured_api: Any, how: str) -> None:
    served = make_configured_api(getattr(swift_cloud, how)())
    assert get(served.api, "/v1/images/i").body == DATA
    assert get(served.api, "/v1/images/i", Range="bytes=-5").body == DATA[-5:]
    assert get(served.api, "/v1/images/absent").status_code == 404


def test_generic_plugin_finds_the_version_itself(
    swift_cloud: SwiftCloud, make_configured_api: Any
) -> None:
    url = swift_cloud.keystone.url.removesuffix("/v3")
    served = make_configured_api(swift_cloud.password(auth_type="password", auth_url=url))
    assert get(served.api, "/v1/images/i").body == DATA


def test_endpoint_override(swift_cloud: SwiftCloud, make_configured_api: Any) -> None:
    override = f"{swift_cloud.swift.url}/v1/AUTH_%(project_id)s"
    served = make_configured_api(
        swift_cloud.password(valid_interfaces="internal", endpoint_override=override)
    )
    assert get(served.api, "/v1/images/i").body == DATA


@pytest.mark.parametrize(
    ("options", "status", "told"),
    [
        ({"region_name": "RegionTwo"}, 502, "the catalog has no object-store endpoint"),
        ({"service_type": "object-stare"}, 502, "the catalog has no object-stare endpoint"),
        ({"valid_interfaces": "internal", "connect_retries": "0"}, 503, "cannot be reached"),
        ({"password": "wr0ng-s3cret"}, 502, "answers with status 401"),
        ({"auth_url": "http://127.0.0.1:1/v3", "connect_retries": "0"}, 503, "cannot be reached"),
        (
            {"auth_type": "password", "auth_url": "http://127.0.0.1:1", "connect_retries": "0"},
            503,
            "cannot be reached",
        ),
    ],
)
def test_what_is_wrong_is_told_the_operator(
    swift_cloud: SwiftCloud,
    make_configured_api: Any,
    options: dict[str, str],
    status: int,
    told: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG", logger="imageapi")
    served = make_configured_api(swift_cloud.password(**options))
    assert get(served.api, "/v1/images/i").status_code == status
    assert told in caplog.text
    assert "wr0ng-s3cret" not in caplog.text


def test_a_revoked_token_is_renewed_once(swift_cloud: SwiftCloud, make_configured_api: Any) -> None:
    served = make_configured_api(swift_cloud.application_credential())
    assert get(served.api, "/v1/images/i").body == DATA
    first = served.token()
    swift_cloud.keystone.revoke(first)
    assert get(served.api, "/v1/images/i").body == DATA
    second = served.token()
    assert second != first
    assert get(served.api, "/v1/images/i").body == DATA
    assert served.token() == second


def test_a_token_that_is_revoked_in_the_middle_of_a_download(
    swift_cloud: SwiftCloud, make_configured_api: Any
) -> None:
    """The connection is broken too, because Swift checks the token only for a new request."""
    served = make_configured_api(swift_cloud.password())
    response = get(served.api, "/v1/images/i")
    chunks = iter(response.app_iter)
    data = next(chunks, b"")
    swift_cloud.keystone.revoke(served.token())
    swift_cloud.swift.stop("proxy")
    starter = threading.Timer(0.5, swift_cloud.swift.start, ["proxy"])
    starter.start()
    data += b"".join(chunks)
    close(response)
    starter.join()
    assert data == DATA
