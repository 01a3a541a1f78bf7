# SPDX-License-Identifier: Apache-2.0
"""The example for oslo.middleware: its pipeline, behind a real nginx that clients see."""

import http.client
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deployment import Deployment
from tests.functional import examples
from tests.functional.http_client import begin, connection
from tests.functional.nginx import nginx

BIG = os.urandom(3_000_000)

PROXY = """\
location /glance/ {
    proxy_pass http://127.0.0.1:UPSTREAM/;
    proxy_set_header Host internal.example.com;
    proxy_set_header X-Forwarded-Host $http_host;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Forwarded-Prefix /glance;
    proxy_set_header Forwarded "";
}
"""

DASHBOARD = "https://dashboard.example.com"


@dataclass(frozen=True)
class OsloService:
    """The port for clients, and the log file of the service."""

    port: int
    log_file: Path

    def ask(
        self, path: str, method: str = "GET", **headers: str
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """The answer, and as much of its body as was received."""
        with connection(self.port) as client:
            response = begin(client, path, method, **headers)
            try:
                return response, response.read()
            except http.client.IncompleteRead as error:
                return response, error.partial

    def logged(self) -> str:
        return self.log_file.read_text()


@pytest.fixture(scope="module")
def oslo_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OsloService]:
    folder = tmp_path_factory.mktemp("oslo")
    deployment = Deployment(folder / "deployment")
    deployment.add("good", BIG)
    for number in range(8):
        deployment.add(f"corrupt-{number}", BIG, checksum="0" * 32)
        deployment.record(f"malformed-{number}", min_ram="much")
    command = examples.copy_example("oslo", folder / "example")
    deployment.config_file.rename(folder / "example" / "imageapi.conf")
    (folder / "nginx").mkdir()
    with examples.run_example(command, folder / "example") as (upstream, _):
        server = PROXY.replace("UPSTREAM", str(upstream))
        with nginx(folder / "deployment", folder / "nginx", server=server) as port:
            yield OsloService(port, folder / "example" / "server.log")


def id_of(response: http.client.HTTPResponse) -> str:
    request_id = response.getheader("x-openstack-request-id")
    assert request_id is not None
    assert re.fullmatch(r"req-[0-9a-f-]{36}", request_id)
    return request_id


@pytest.mark.parametrize(
    ("kind", "status", "told"),
    [("malformed", 500, "min_ram"), ("corrupt", 200, "broken off at byte 3000000")],
)
def test_request_id_is_in_our_lines(
    oslo_service: OsloService, kind: str, status: int, told: str
) -> None:
    """Log lines of concurrent requests, before an answer and in the middle of its body."""
    paths = {number: f"/glance/v1/images/{kind}-{number}" for number in range(8)}
    with ThreadPoolExecutor(8) as pool:
        answers = dict(zip(paths, pool.map(oslo_service.ask, paths.values()), strict=True))
    for number, (response, body) in answers.items():
        assert response.status == status
        assert len(body) < len(BIG)
        (line,) = (
            line for line in oslo_service.logged().splitlines() if f"'{kind}-{number}'" in line
        )
        assert re.search(rf" ERROR imageapi\S* \[.*{id_of(response)} .*{told}", line)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_uri_is_the_public_one(oslo_service: OsloService, method: str) -> None:
    response, _ = oslo_service.ask("/glance/v1/images/good", method)
    uri = response.getheader("X-Image-Meta-Uri") or ""
    assert uri == f"http://127.0.0.1:{oslo_service.port}/glance/v1/images/good"
    response, body = oslo_service.ask(uri)
    assert (response.status, body) == (200, BIG)


def test_uri_of_the_details_is_the_public_one(oslo_service: OsloService) -> None:
    _, body = oslo_service.ask("/glance/v1/images/good?format=json")
    assert f'"http://127.0.0.1:{oslo_service.port}/glance/v1/images/good"'.encode() in body


def test_healthcheck(oslo_service: OsloService) -> None:
    response, body = oslo_service.ask("/glance/healthcheck")
    assert (response.status, body) == (200, b"OK")
    maintenance = oslo_service.log_file.parent / "maintenance"
    maintenance.touch()
    assert oslo_service.ask("/glance/healthcheck")[0].status == 503
    assert oslo_service.ask("/glance/v1/images/good")[0].status == 200
    maintenance.unlink()


def test_cors(oslo_service: OsloService) -> None:
    path = "/glance/v1/images/good"
    response, body = oslo_service.ask(path, Origin=DASHBOARD, Range="bytes=1-3")
    assert (response.status, body) == (206, BIG[1:4])
    assert response.getheader("Access-Control-Allow-Origin") == DASHBOARD
    exposed = response.getheader("Access-Control-Expose-Headers") or ""
    assert "X-Image-Meta-Checksum" in exposed.split(",")
    response, _ = oslo_service.ask(path, Origin="https://other.example.com")
    assert response.getheader("Access-Control-Allow-Origin") is None


@pytest.mark.parametrize(("method", "allowed"), [("GET", "GET"), ("DELETE", None)])
def test_cors_preflight(oslo_service: OsloService, method: str, allowed: str | None) -> None:
    asked = {"Access_Control_Request_Method": method, "Access_Control_Request_Headers": "Range"}
    response, _ = oslo_service.ask("/glance/v1/images/good", "OPTIONS", Origin=DASHBOARD, **asked)
    assert response.status == 200
    assert response.getheader("Access-Control-Allow-Methods") == allowed
