# SPDX-License-Identifier: Apache-2.0
import argparse
from collections.abc import Iterator

import pytest

import imageapi
from imageapi.caller import ANONYMOUS, Caller
from imageapi.commands.serve_settings import ServeSettings
from imageapi.commands.served import Served
from tests.asgi import ASGIAnswer, ask_asgi
from tests.deployment import Deployment


@pytest.fixture
def served(deployment: Deployment) -> Iterator[Served]:
    deployment.add("i", b"data")
    conf = imageapi.load_config([deployment.config_file])
    served = Served(conf, ServeSettings.of(conf, argparse.Namespace()), ())
    yield served
    served.close()


def ask_served(served: Served, path: str, method: str = "GET", query: bytes = b"") -> ASGIAnswer:
    return ask_asgi(served, path, method=method, query_string=query)


def test_images(served: Served) -> None:
    assert ask_served(served, "/v1/images/i").body == b"data"


@pytest.mark.parametrize(
    ("method", "query", "status", "body"),
    [
        ("GET", b"", 200, b"OK\n"),
        ("HEAD", b"", 200, b""),
        ("GET", b"detailed", 200, b"OK\n"),
        ("POST", b"", 405, b"Only GET and HEAD are possible.\n"),
    ],
)
def test_health(served: Served, method: str, query: bytes, status: int, body: bytes) -> None:
    answer = ask_served(served, "/healthcheck", method, query)
    assert (answer.status, answer.body) == (status, body)
    assert answer.header("cache-control") == "no-store"


def test_health_of_a_backend_that_does_not_work(
    served: Served, deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    deployment.data_path("i").unlink()
    deployment.images.rmdir()
    assert ask_served(served, "/healthcheck").status == 200
    answer = ask_served(served, "/healthcheck", query=b"detailed")
    assert (answer.status, answer.body) == (503, b"store 'file' does not work\n")
    assert f"{deployment.images}: No such file or directory" in caplog.text


def test_no_metrics_at_the_address_of_images(served: Served) -> None:
    assert ask_served(served, "/metrics").status == 404


def test_made_up_caller_wins_over_headers(served: Served, deployment: Deployment) -> None:
    deployment.add("private", b"data", owner="p1", is_public=False)
    headers = [
        ("x-identity-status", "Confirmed"),
        ("x-project-id", "p1"),
        ("x-roles", "admin"),
        ("x-auth-token", "token"),
    ]
    for caller, status in ((None, 404), (Caller(project_id="p2"), 404), (ANONYMOUS, 404)):
        served.caller = caller
        assert ask_asgi(served, "/v1/images/private", headers=headers).status == status
    served.caller = Caller(project_id="p1")
    others = [("x-project-id", "p2"), ("x-identity-status", "Invalid")]
    assert ask_asgi(served, "/v1/images/private", headers=others).body == b"data"
