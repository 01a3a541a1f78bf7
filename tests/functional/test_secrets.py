# SPDX-License-Identifier: Apache-2.0
"""A secret that is planted wherever it can be comes out nowhere."""

import logging
from collections.abc import Iterator

import pytest
import webob

from imageapi import Caller, cli
from imageapi.errors import BackendError
from tests.deployment import Deployment

SECRET = "c4nary"
LOCATIONS = [
    f"file://{SECRET}@host/x",
    f"file:///x?{SECRET}",
    f"swift+https://user:{SECRET}@host/v1/c/o",
    f"https://host/o?sig={SECRET}#{SECRET}",
    f"{SECRET}",
]


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG, logger="imageapi"):
        yield caplog


@pytest.mark.parametrize(
    "location", [*LOCATIONS, {"url": LOCATIONS[2], "metadata": {"store": "x"}}]
)
def test_locations(
    deployment: Deployment,
    everything_logged: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    location: object,
) -> None:
    deployment.record("i", location=location, size=4, properties={"a b": "x"})
    api = deployment.api()
    for method in ("GET", "HEAD"):
        for suffix in ("", "?format=json"):
            response = webob.Request.blank(f"/v1/images/i{suffix}", method=method).send(api)
            assert SECRET not in f"{response.headerlist}{response.text if response.charset else ''}"
            assert SECRET.encode() not in response.body
    cli.main(["--debug", "--config-file", str(deployment.config_file), "show", "i"])
    shown = capsys.readouterr()
    assert SECRET not in everything_logged.text
    assert SECRET not in shown.err
    # A path is what an operator must see; a location without a scheme has no more than that.
    if location != SECRET:
        assert SECRET not in shown.out


def test_malformed_locations(
    deployment: Deployment, everything_logged: pytest.LogCaptureFixture
) -> None:
    deployment.record("i", locations=[{"url": [SECRET]}])
    deployment.record("j", locations={SECRET: SECRET})
    api = deployment.api()
    for image_id in ("i", "j"):
        response = webob.Request.blank(f"/v1/images/{image_id}").send(api)
        assert response.status_code == 500
        assert SECRET not in response.text
    assert "location" in everything_logged.text
    assert SECRET not in everything_logged.text


def test_tokens(deployment: Deployment, everything_logged: pytest.LogCaptureFixture) -> None:
    deployment.record("i", size=4)
    request = webob.Request.blank("/v1/images/i", headers={"X-Auth-Token": SECRET})
    request.environ["imageapi.caller"] = Caller(user_id="u", token=SECRET)
    response = request.send(deployment.api())
    assert response.status_code == 404
    assert SECRET not in everything_logged.text + response.text + str(response.headerlist)


def test_foreign_exceptions(
    deployment: Deployment,
    everything_logged: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its text reaches no client, and not what the server logs of a broken body."""
    deployment.add("i", b"x" * 3_000_000)
    api = deployment.api()
    response = webob.Request.blank("/v1/images/i").send(api)
    body = response.app_iter

    def fail(self: object) -> bytes:
        raise RuntimeError(SECRET)

    monkeypatch.setattr("imageapi.backends.file.FileBlob.__next__", fail)
    with pytest.raises(BackendError) as caught:
        b"".join(body)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    with pytest.raises(BackendError):
        next(iter(body))
