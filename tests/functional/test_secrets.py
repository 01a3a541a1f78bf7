# SPDX-License-Identifier: Apache-2.0
"""A secret that is planted wherever it can be comes out nowhere."""

import json
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import webob

from imageapi import Caller, ImageAPI, cli, load_config
from imageapi.errors import BackendError
from tests.deployment import Deployment
from tests.functional.raw_server import RawServer, Request
from tests.functional.swift import configuration

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


HTTP = """\
[imageapi]
registry = http
stores = http
policy = visible
[imageapi_registry_http]
endpoint = {url}/records
auth = caller
read_timeout = 0.3
[imageapi_store_http]
allowed_urls = {url}/images
url_template = {url}/images/{{image_id}}?signature={secret}
auth = caller
read_timeout = 0.3
"""

RECORD = b'{"status": "active", "size": 4, "locations": ["URL/images/i?signature=c4nary"]}'

# What the server for the data says.
ANSWERS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndata",
    b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nda",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nc4nary",
    b"HTTP/1.1 404 c4nary\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 403 c4nary\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 500 c4nary\r\nContent-Length: 6\r\n\r\nc4nary",
    b"HTTP/1.1 302 c4nary\r\nLocation: /elsewhere?c4nary\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 302 c4nary\r\nLocation: //user:c4nary@x/c4nary\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 206 Partial Content\r\nContent-Range: c4nary\r\nContent-Length: 4\r\n\r\ndata",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: c4nary\r\nContent-Length: 4\r\n\r\ndata",
    b"HTTP/1.1 200 OK\r\nc4nary\r\nContent-Length: 4\r\n\r\ndata",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nc4nary\r\n",
    b"c4nary c4nary\r\n\r\n",
    b"",
]


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("from_template", [True, False])
def test_http(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    answer: bytes,
    from_template: bool,
) -> None:
    """Nor in what urllib3 logs, but for its DEBUG, as the pages say."""

    def serve(request: Request, connection: socket.socket) -> bool:
        if request.target.startswith("/records/"):
            record = RECORD.replace(b"URL", server.url.encode())
            if from_template:
                record = record[: record.index(b', "loc')] + b"}"
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(record)}\r\n\r\n"
            connection.sendall(head.encode() + record)
        else:
            connection.sendall(answer)
        return False

    with RawServer(serve) as server:
        config = tmp_path / "imageapi.conf"
        config.write_text(HTTP.format(url=server.url, secret=SECRET))
        api = ImageAPI(load_config([config]))
        caplog.set_level(logging.DEBUG, logger="imageapi")
        caplog.set_level(logging.INFO, logger="urllib3")
        request = webob.Request.blank("/v1/images/i", headers={"X-Auth-Token": SECRET})
        response = request.send(api)
        told = f"{response.status}{response.headerlist}"
        if response.status_code != 200:
            told += response.text
        elif hasattr(response.app_iter, "close"):
            response.app_iter.close()
        api.close()
        cli.main(["--debug", "--config-file", str(config), "check"])
        cli.main(["--debug", "--config-file", str(config), "show", "i"])
    shown = capsys.readouterr()
    assert SECRET not in told.replace("/v1/images/i", "")
    assert SECRET not in caplog.text
    assert SECRET not in shown.err + shown.out


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("path", ["/auth", "/v1/AUTH_acme/records", "/v1/AUTH_acme/images"])
def test_swift(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    answer: bytes,
    path: str,
) -> None:
    """Password and token, a location's credentials, and what each server says."""
    url = f"swift+https://user:{SECRET}@127.0.0.1:1/v1/images/i"
    record = json.dumps({"status": "active", "is_public": True, "size": 4, "locations": [url]})

    def serve(request: Request, connection: socket.socket) -> bool:
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(record)}\r\n"
        if request.target.startswith(path):
            connection.sendall(answer)
        elif request.target.startswith("/auth"):
            head += f"X-Auth-Token: {SECRET}\r\nX-Storage-Url: {server.url}/v1/AUTH_acme"
            connection.sendall(f"{head}\r\n\r\n{record}".encode())
        elif request.target.startswith("/v1/AUTH_acme/records"):
            connection.sendall(f"{head}\r\n{record}".encode())
        else:
            connection.sendall(ANSWERS[0])
        return False

    with RawServer(serve) as server:
        config = tmp_path / "imageapi.conf"
        config.write_text(
            configuration(
                {
                    "auth_type": "v1password",
                    "auth_url": f"{server.url}/auth/v1.0",
                    "username": "acme:reader",
                    "password": SECRET,
                    "timeout": 0.3,
                    "connect_retries": 0,
                    "status_code_retries": 0,
                }
            )
        )
        api = ImageAPI(load_config([config]))
        caplog.set_level(logging.DEBUG, logger="imageapi")
        for library in ("urllib3", "keystoneauth", "swiftclient"):
            caplog.set_level(logging.INFO, logger=library)
        response = webob.Request.blank("/v1/images/i").send(api)
        told = f"{response.status}{response.headerlist}"
        if response.status_code != 200:
            told += response.text
        elif hasattr(response.app_iter, "close"):
            response.app_iter.close()
        api.close()
        cli.main(["--debug", "--config-file", str(config), "check"])
        cli.main(["--debug", "--config-file", str(config), "show", "i"])
        cli.main(["--debug", "--config-file", str(config), "add", os.devnull])
    shown = capsys.readouterr()
    assert SECRET not in told
    assert SECRET not in caplog.text
    assert SECRET not in shown.err + shown.out
