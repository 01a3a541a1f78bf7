# SPDX-License-Identifier: Apache-2.0
"""A secret in every possible place does not appear in any output."""

import base64
import gc
import json
import logging
import os
import socket
import subprocess
import threading
import traceback
import types
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import webob

from imageapi import Caller, ImageAPI, load_config
from imageapi.backends.http_client import retries
from imageapi.backends.http_client.urls import Url
from imageapi.commands import main
from imageapi.errors import BackendError, ConfigurationError
from imageapi.image import Image, Location
from tests.deployment import Deployment
from tests.functional.raw_server import RawServer, Request
from tests.functional.swift import swift_configuration
from tests.memory import Memory
from tests.paths import BIN

SECRET = "c4nary"
LOCATIONS = [
    f"file://{SECRET}@host/x",
    f"file:///x?{SECRET}",
    f"swift+https://user:{SECRET}@host/v1/c/o",
    f"https://host/o?sig={SECRET}#{SECRET}",
    f"http://user:{SECRET}@127.0.0.1:1/o",
    f"HTTPS://{SECRET}@host:99999/\udcff",
    f"https://host\\@{SECRET}@host/o",
    f"swift://user:{SECRET}@host/c/o",
    f"swift+config://{SECRET}@ref/c/o",
    f"swift+http://tenant%3Auser:{SECRET}/@host/v1/c/o",
    f"swift://c/o?temp_url_sig={SECRET}",
    f"s3+https://key:{SECRET}/+/=@host/bucket/o",
    f"s3://key:{SECRET}@host/bucket/o",
    f"s3://bucket/o?X-Amz-Signature={SECRET}",
    f"rbd://fsid/pool/image/snap?key={SECRET}",
    f"vsphere://user:{SECRET}@host/folder/x?dcPath=dc",
    f"memory:i?{SECRET}",
    f"//user:{SECRET}@host/x",
    f"{SECRET}",
]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "time", SimpleNamespace(sleep=lambda _: None))


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG, logger="imageapi"):
        yield caplog


EVERY_STORE = """\
[imageapi_store_http]
allowed_urls = http://127.0.0.1:1/
connect_timeout = 0.5
[imageapi_store_swift]
container = images
auth_type = none
endpoint_override = http://127.0.0.1:1/v1/AUTH_x
connect_retries = 0
[imageapi_store_s3]
bucket = bucket
endpoint_url = http://127.0.0.1:1
access_key = key
secret_key = s3cret
"""


@pytest.mark.parametrize("stores", ["file", "file, http, swift, s3, memory, failing"])
@pytest.mark.parametrize(
    "location", [*LOCATIONS, {"url": LOCATIONS[2], "metadata": {"store": "x"}}]
)
def test_locations(
    deployment: Deployment,
    everything_logged: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    location: object,
    stores: str,
) -> None:
    deployment.configure(f"stores = {stores}", EVERY_STORE if "http" in stores else "")
    deployment.record("i", location=location, size=4, properties={"a b": "x"})
    api = deployment.api()
    for method in ("GET", "HEAD"):
        for suffix in ("", "?format=json"):
            response = webob.Request.blank(f"/v1/images/i{suffix}", method=method).send(api)
            assert SECRET not in f"{response.headerlist}{response.text if response.charset else ''}"
            assert SECRET.encode() not in response.body
    main.main(["--debug", "--config-file", str(deployment.config_file), "show", "i"])
    shown = capsys.readouterr()
    assert SECRET not in everything_logged.text
    assert SECRET not in shown.err
    # Operators must see paths, and a location without a scheme is only a path.
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
    """Its text reaches neither a client nor the server's log of a broken body."""
    deployment.add("i", b"x" * 3_000_000)
    api = deployment.api()
    response = webob.Request.blank("/v1/images/i").send(api)
    body = response.app_iter

    def fail(self: object) -> bytes:
        raise RuntimeError(SECRET)

    monkeypatch.setattr("imageapi.backends.file.store.FileBlob.__next__", fail)
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

# The answers of the server for the data.
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
    """Also not in urllib3's log, except at level DEBUG, as the documentation says."""

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
        main.main(["--debug", "--config-file", str(config), "check"])
        main.main(["--debug", "--config-file", str(config), "show", "i"])
    shown = capsys.readouterr()
    assert SECRET not in told.replace("/v1/images/i", "")
    assert SECRET not in caplog.text
    assert SECRET not in shown.err + shown.out


def swift_at(server: RawServer) -> str:
    """A configuration for a raw server that plays Swift."""
    return swift_configuration(
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


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("path", ["/auth", "/v1/AUTH_acme/records", "/v1/AUTH_acme/images"])
def test_swift(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    answer: bytes,
    path: str,
) -> None:
    """Password and token, the credentials in a location, and the servers' texts."""
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
        config.write_text(swift_at(server))
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
        main.main(["--debug", "--config-file", str(config), "check"])
        main.main(["--debug", "--config-file", str(config), "show", "i"])
        main.main(["--debug", "--config-file", str(config), "add", os.devnull, "--public"])
    shown = capsys.readouterr()
    assert SECRET not in told
    assert SECRET not in caplog.text
    assert SECRET not in shown.err + shown.out


S3_ANSWERS = [
    *ANSWERS,
    b"HTTP/1.1 403 c4nary\r\nContent-Length: 31\r\n\r\n<Code>AccessDenied</Code>c4nary",
    b"HTTP/1.1 404 c4nary\r\nContent-Length: 19\r\n\r\n<Code>c4nary</Code>",
    b"HTTP/1.1 416 c4nary\r\nContent-Length: 6\r\n\r\nc4nary",
]


# Without these ids, the names of folders would contain the secret.
@pytest.mark.parametrize("answer", S3_ANSWERS, ids=range(len(S3_ANSWERS)))
@pytest.mark.parametrize("has_keys", [True, False])
def test_s3(
    deployment: Deployment,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    answer: bytes,
    has_keys: bool,
) -> None:
    """Keys of the configuration, or a token that botocore finds; and a location's credentials."""
    keys = f"access_key = key\nsecret_key = {SECRET}"
    if not has_keys:
        keys = ""
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            monkeypatch.setenv(name, SECRET)
    deployment.record("i", size=4, location=f"s3://key:{SECRET}@host/bucket/i")

    def serve(_request: Request, connection: socket.socket) -> bool:
        connection.sendall(answer)
        return False

    with RawServer(serve) as server:
        options = f"bucket = bucket\nendpoint_url = {server.url}\nread_timeout = 0.3\n{keys}"
        deployment.configure("stores = s3, file", f"[imageapi_store_s3]\n{options}")
        caplog.set_level(logging.DEBUG, logger="imageapi")
        for library in ("urllib3", "botocore"):
            caplog.set_level(logging.INFO, logger=library)
        with closing(deployment.api()) as api:
            response = webob.Request.blank("/v1/images/i").send(api)
            told = f"{response.status}{response.headerlist}"
            if response.status_code != 200:
                told += response.text
            elif hasattr(response.app_iter, "close"):
                response.app_iter.close()
        command = ["--debug", "--config-file", str(deployment.config_file)]
        main.main([*command, "check"])
        main.main([*command, "show", "i"])
        main.main([*command, "add", os.devnull, "--public"])
        assert server.requests
        assert SECRET not in "".join(one.target for one in server.requests)
    shown = capsys.readouterr()
    assert SECRET not in told
    assert SECRET not in caplog.text
    assert SECRET not in shown.err + shown.out


# The credentials as a proxy gets them.
ENCODED = base64.b64encode(f"user:{SECRET}".encode()).decode()
EVERYWHERE = f"""\
[imageapi]
registry = http
stores = http, swift, s3
policy = visible
[imageapi_registry_http]
endpoint = http://127.0.0.1:1/records
proxy = http://user:{SECRET}@127.0.0.1:1
connect_timeout = 0.5
[imageapi_store_http]
allowed_urls = http://127.0.0.1:1/images
url_template = http://127.0.0.1:1/images/{{image_id}}?signature={SECRET}
proxy = http://user:{SECRET}@127.0.0.1:1
[imageapi_store_swift]
container = images
auth_section = cloud
[imageapi_store_s3]
bucket = bucket
endpoint_url = http://127.0.0.1:1
access_key = {SECRET}
secret_key = {SECRET}
[cloud]
auth_type = v1password
auth_url = http://127.0.0.1:1/auth
username = user
password = {SECRET}
connect_retries = 0
"""


@pytest.fixture
def everywhere(tmp_path: Path) -> Path:
    path = tmp_path / "everywhere.conf"
    path.write_text(EVERYWHERE)
    return path


def hides(text: str) -> bool:
    return SECRET not in text and ENCODED not in text


def test_reprs(everywhere: Path) -> None:
    """The reprs of all connected objects, which a crash report could print."""
    api = ImageAPI(load_config([everywhere]))
    image = Image(
        id="i", status="active", locations=(Location(f"http://user:{SECRET}@host/?{SECRET}"),)
    )
    caller = Caller(user_id="u", token=SECRET)
    ours = [one for one in reachable([api, image, caller]) if is_ours(one)]
    names = {"UpstreamSettings", "HTTPStore", "SwiftSession", "S3Client", "Keys", "Loaded"}
    assert names | {"Location"} <= {type(one).__name__ for one in ours}
    assert [one for one in ours if not hides(f"{one!r}")] == []
    assert [one for one in ours if not isinstance(one, Url) and not hides(f"{one!s}")] == []
    api.close()


def is_ours(one: object) -> bool:
    return type(one).__module__.startswith("imageapi")


def reachable(roots: Iterable[object]) -> Iterator[object]:
    """The objects, and all objects that they refer to."""
    seen: dict[int, object] = {}
    waiting = list(roots)
    while waiting:
        one = waiting.pop()
        if id(one) not in seen and not isinstance(one, type | types.ModuleType):
            seen[id(one)] = one
            waiting.extend(gc.get_referents(one))
            yield one


def test_options_that_oslo_config_logs(everywhere: Path, caplog: pytest.LogCaptureFixture) -> None:
    """OpenStack services let oslo.config log all values at their start."""
    conf = load_config([everywhere])
    ImageAPI(conf).close()
    conf.log_opt_values(logging.getLogger("imageapi.host"), logging.WARNING)
    assert "127.0.0.1:1/auth" in caplog.text
    assert hides(caplog.text)


@pytest.mark.parametrize(
    "line",
    [
        f"password {SECRET}",
        f"[{SECRET}",
        f"= {SECRET}",
        f"  {SECRET}",
        f"password: '{SECRET}\n{SECRET}",
    ],
)
def test_line_that_cannot_be_parsed(tmp_path: Path, line: str) -> None:
    path = tmp_path / "broken.conf"
    path.write_text(f"{line}\n[imageapi]\n{line}\n")
    with pytest.raises(ConfigurationError, match=f"{path}:[1-4], ") as caught:
        load_config([path])
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (f"password = {SECRET}", f"password = pass${SECRET}"),
        (f"signature={SECRET}", f"signature=${SECRET}"),
        (f"secret_key = {SECRET}", f"secret_key = ${SECRET}"),
        (f"user:{SECRET}@", f"user:${{{SECRET}}}@"),
    ],
)
def test_dollar_in_a_secret(
    everywhere: Path, everything_logged: pytest.LogCaptureFixture, old: str, new: str
) -> None:
    """oslo.config takes the text after it for the name of an option, and its error shows it."""
    everywhere.write_text(EVERYWHERE.replace(old, new, 1))
    with pytest.raises(ConfigurationError, match=r"write \$\$ for a \$") as caught:
        ImageAPI(load_config([everywhere]))
    assert SECRET not in str(caught.value) + everything_logged.text


@pytest.mark.parametrize("name", ["registry", "store 'http'", "store 'swift'", "store 's3'"])
def test_exceptions(everywhere: Path, name: str) -> None:
    """With the whole text of their tracebacks."""
    api = ImageAPI(load_config([everywhere]))
    caller = Caller(user_id="u", token=SECRET)
    (loaded,) = [one for one in api.backends if str(one).startswith(name)]
    backend: Any = loaded.backend
    asks: list[Callable[[], object]] = [backend.check]
    if name == "registry":
        asks.append(lambda: backend.get("i", caller))
    else:
        asks += [
            partial(backend.open, Location(url), caller=caller)
            for url in [backend.locate("i").url, *LOCATIONS]
        ]
    for ask in asks:
        with pytest.raises(BackendError) as caught:
            ask()
        assert hides("".join(traceback.format_exception(caught.value)))
        assert hides(repr(caught.value))
    api.close()


@pytest.mark.parametrize("arguments", [["check"], ["show", "i"], ["add", os.devnull, "--public"]])
@pytest.mark.parametrize("kind", ["http", "swift"])
def test_command(tmp_path: Path, arguments: list[str], kind: str) -> None:
    """In a process of its own, with its own logging."""

    def serve(request: Request, connection: socket.socket) -> bool:
        headers = f"X-Auth-Token: {SECRET}\r\nX-Storage-Url: {server.url}/v1/AUTH_acme\r\n"
        headers += f"Location: /images/other?{SECRET}\r\n"
        record = RECORD.replace(b"URL", server.url.encode())
        status = "302 Found" if request.target.startswith("/images/i") else f"200 {SECRET}"
        head = f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(record)}\r\n\r\n"
        connection.sendall(head.encode() + record)
        return False

    with RawServer(serve) as server:
        config = tmp_path / "imageapi.conf"
        http = HTTP.format(url=server.url, secret=SECRET)
        config.write_text(http if kind == "http" else swift_at(server))
        command = [str(BIN / "imageapi"), "--config-file", str(config), "--debug", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert server.requests or arguments[0] == "add"
    assert done.stdout + done.stderr
    assert SECRET not in done.stdout + done.stderr


def test_memory(tmp_path: Path, everything_logged: pytest.LogCaptureFixture) -> None:
    memory = Memory(tmp_path)
    caller = Caller(user_id="u", token=SECRET)
    for location in (Location(f"memory:{SECRET}"), Location(f"failing://u:{SECRET}@x", "second")):
        memory.put(locations=(location,))
        response = memory.get(caller=caller)
        assert response.status_code in (404, 500)
        assert SECRET not in f"{response.headerlist}{response.text}"
    for api_backend in memory.api.backends:
        assert SECRET not in repr(api_backend)
    assert SECRET not in everything_logged.text
    memory.api.close()


def test_policy(tmp_path: Path, everything_logged: pytest.LogCaptureFixture) -> None:
    """A rule that asks another server sends it neither token nor location."""
    asked: list[bytes] = []

    class Judge(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(str(self.headers).encode())
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"False")

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Judge) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        rule = f"http://127.0.0.1:{server.server_port}/ask"
        memory = Memory(tmp_path, rules=f'"download_image": "{rule}"')
        memory.put(locations=(Location(f"swift://u:{SECRET}@x/c/o"),), properties={"p": "told"})
        response = memory.get(caller=Caller(user_id="u", token=SECRET))
        thread.join(30)
    assert response.status_code == 403
    assert b"told" in b"".join(asked)
    assert SECRET.encode() not in b"".join(asked)
    assert SECRET not in everything_logged.text + response.text
    memory.api.close()
