# SPDX-License-Identifier: Apache-2.0
"""examples/openstack with a real Keystone: Keystone alone decides who asks."""

import http.client
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.deployment import Deployment
from tests.functional import basic_auth, examples
from tests.functional.frameworks import HOOKS
from tests.functional.http_client import connection
from tests.functional.openstack import Keystone
from tests.functional.test_keystone import FORGED, POLICY
from tests.functional.wsgi_servers import replaced
from tests.paths import EXAMPLES, ROOT

pytestmark = pytest.mark.timeout(300)

FOLDER = EXAMPLES / "openstack"

# No distribution of another project has these modules.
OURS = {"host", "imageapi"}


class Cloud(NamedTuple):
    """What is there for the examples to serve."""

    keystone: Keystone
    deployment: Deployment
    projects: Mapping[str, str]
    tokens: Mapping[str, str]


class ExampleService(NamedTuple):
    """A running example, behind something that sets REMOTE_USER."""

    port: int
    folder: Path

    def ask(
        self, path: str, method: str = "GET", **headers: str
    ) -> tuple[http.client.HTTPResponse, bytes]:
        sent = {name.replace("_", "-"): value for name, value in headers.items() if value}
        with connection(self.port) as client:
            client.request(method, path, headers=sent)
            response = client.getresponse()
            return response, response.read()

    def status(self, image_id: str, token: str = "", **headers: str) -> int:
        """The status of GET; the body is the data if it is 200."""
        response, body = self.ask(f"/v1/images/{image_id}", X_Auth_Token=token, **headers)
        assert response.status != 200 or body == b"data"
        return response.status


@pytest.fixture(scope="module")
def cloud(
    identity: Keystone, projects: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Cloud:
    users = ("ann", "ben", "reader", "chief")
    tokens = {user: identity.token(user, f"project-of-{user}") for user in users}
    deployment = Deployment(tmp_path_factory.mktemp("openstack") / "deployment")
    deployment.add("public", b"data")
    deployment.add("of-ann", b"data", is_public=False, owner=projects["ann"])
    deployment.add("guarded", b"data", properties={"guarded": "yes"})
    deployment.record("malformed", owner=projects["ann"], min_ram="much")
    return Cloud(identity, deployment, projects, tokens)


def configuration_with_keystone(cloud: Cloud, delay: str) -> str:
    """The deployment's, with the section that the example shows."""
    text = (FOLDER / "api-paste.ini").read_text()
    shown = re.search(r"^#    \[keystone_authtoken\]\n(?:#    .*\n)+", text, re.MULTILINE)
    assert shown is not None
    section = re.sub("^#    ", "", shown.group(), flags=re.MULTILINE)
    here = (
        ("https://keystone.example.com/v3", cloud.keystone.url),
        ("SECRET", "imageapi"),
        ("delay_auth_decision = true", f"delay_auth_decision = {delay}"),
    )
    return cloud.deployment.config_file.read_text() + replaced(section, *here)


@contextmanager
def run_changed_example(
    cloud: Cloud, example: str, *changes: tuple[str, str], delay: str = "true"
) -> Iterator[ExampleService]:
    """An example in a folder of its own, with some lines of its api-paste.ini changed."""
    folder = Path(tempfile.mkdtemp(dir=cloud.deployment.folder)) / "example"
    command = examples.copy_example(example, folder)
    paste = folder / "api-paste.ini"
    paste.write_text(replaced(paste.read_text(), *changes))
    (folder / "policy.yaml").write_text(POLICY)
    policy = "[imageapi_policy_rules]\npolicy_file = policy.yaml\n"
    (folder / "imageapi.conf").write_text(configuration_with_keystone(cloud, delay) + policy)
    environ = {"PYTHONPATH": str(ROOT)}
    with examples.run_example(command, folder, environ, HOOKS) as (port, _):
        yield ExampleService(port, folder)


def with_keystone(pipeline: str) -> tuple[tuple[str, str], ...]:
    """The changes that put keystonemiddleware into the pipeline of examples/oslo."""
    text = (FOLDER / "api-paste.ini").read_text()
    section = text[text.index("[filter:authtoken]") : text.index("[filter:context]")]
    return (
        ("cors request_id context images", pipeline),
        ("[filter:context]", f"{section}[filter:context]"),
    )


@pytest.fixture(scope="module")
def services(cloud: Cloud) -> Iterator[Mapping[str, ExampleService]]:
    extended = with_keystone("cors request_id authtoken context images")
    with ExitStack() as stack:
        yield {
            "openstack": stack.enter_context(run_changed_example(cloud, "openstack")),
            "oslo with authtoken": stack.enter_context(
                run_changed_example(cloud, "oslo", *extended)
            ),
        }


@pytest.fixture(params=["openstack", "oslo with authtoken"])
def example_service(
    request: pytest.FixtureRequest, services: Mapping[str, ExampleService]
) -> ExampleService:
    return services[request.param]


def test_keystone_decides(example_service: ExampleService, cloud: Cloud) -> None:
    tokens = cloud.tokens
    assert example_service.status("of-ann", tokens["ann"]) == 200
    assert example_service.status("of-ann", tokens["ben"]) == 404
    assert example_service.status("of-ann", tokens["chief"]) == 200
    assert example_service.status("guarded", tokens["reader"]) == 200
    assert example_service.status("guarded", tokens["ben"]) == 403
    for token in ("", "forged"):
        assert example_service.status("of-ann", token) == 404
        assert example_service.status("public", token) == 200


def test_remote_user_gives_nobody_another_identity(
    example_service: ExampleService, cloud: Cloud
) -> None:
    """It is the project's id, since examples/oslo takes the name for the project."""
    remote = {"Authorization": basic_auth.header_of(cloud.projects["ann"])}
    for user in ("", "ben"):
        token = cloud.tokens.get(user, "")
        assert example_service.status("of-ann", token, **remote) == 404
        assert example_service.status("guarded", token, **remote) == 403
    # Nor does it take an identity away.
    remote = {"Authorization": basic_auth.header_of("ben")}
    assert example_service.status("of-ann", cloud.tokens["ann"], **remote) == 200


def test_forged_headers_give_nobody_another_identity(
    example_service: ExampleService, cloud: Cloud
) -> None:
    project = cloud.projects["ann"]
    forged = {**FORGED, "X-Project-Id": project, "X-Tenant-Id": project, "Remote-User": project}
    for user in ("", "ben"):
        token = cloud.tokens.get(user, "")
        assert example_service.status("of-ann", token, **forged) == 404
        assert example_service.status("guarded", token, **forged) == 403


def test_request_id_and_verified_user_are_in_our_lines(
    services: Mapping[str, ExampleService], cloud: Cloud
) -> None:
    service = services["openstack"]
    forged = {"X_User_Id": "somebody", "X_Project_Id": "somebody"}
    response, _ = service.ask("/v1/images/malformed", X_Auth_Token=cloud.tokens["ann"], **forged)
    assert response.status == 500
    request_id = response.getheader("x-openstack-request-id") or ""
    log = (service.folder / "server.log").read_text()
    (line,) = (line for line in log.splitlines() if "min_ram" in line and request_id in line)
    assert re.search(
        rf"ERROR imageapi\S* \[.*{request_id} [0-9a-f]{{32}} {cloud.projects['ann']}", line
    )
    assert "somebody" not in log
    assert not any(token in log for token in cloud.tokens.values())


def test_healthcheck_and_preflight_need_no_token(services: Mapping[str, ExampleService]) -> None:
    service = services["openstack"]
    assert service.ask("/healthcheck")[1] == b"OK"
    asked = {"Access_Control_Request_Method": "GET", "Origin": "https://dashboard.example.com"}
    response, _ = service.ask("/v1/images/public", "OPTIONS", **asked)
    assert response.status == 200
    assert response.getheader("Access-Control-Allow-Methods") == "GET"


def test_uri_is_the_public_one(services: Mapping[str, ExampleService]) -> None:
    proxy = {"X_Forwarded_Proto": "https", "X_Forwarded_Host": "images.example.com"}
    response, _ = services["openstack"].ask("/v1/images/public", "HEAD", **proxy)
    uri = response.getheader("X-Image-Meta-Uri")
    assert uri == "https://images.example.com/v1/images/public"


def test_nobody_is_anonymous_without_the_delay(cloud: Cloud) -> None:
    with run_changed_example(cloud, "openstack", delay="false") as service:
        assert service.status("public") == 401
        assert service.status("public", cloud.tokens["ben"]) == 200


def test_pip_line_names_all_that_is_imported() -> None:
    text = (FOLDER / "api-paste.ini").read_text()
    (line,) = re.findall(r"^#    pip install (.*)$", text, re.MULTILINE)
    assert f"\npip install {line}\n" in (ROOT / "docs" / "frameworks.md").read_text()
    source = text + (FOLDER / "host.py").read_text()
    used = set(re.findall(r"(?:_factory = |^from |^import )(\w+)", source, re.MULTILINE)) - OURS
    assert {"oslo_middleware", "keystonemiddleware", "oslo_log"} <= used
    distributions = packages_distributions()
    named = {word.lower() for word in line.split()}
    # oslo.config is a requirement of imageapi itself.
    needed = {distributions[module][0].lower() for module in used} - {"oslo.config"}
    needed |= set(re.findall(r"egg:(\w+)#", text.lower())) | {"pastedeploy"}
    assert needed <= named
    assert "'.[server]'" in line
