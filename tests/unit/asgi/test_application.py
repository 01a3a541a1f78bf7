# SPDX-License-Identifier: Apache-2.0
import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

import imageapi
from imageapi import Caller, asgi
from imageapi.asgi.application import _Door
from imageapi.asgi.scope import Message, Receive, Scope, Send
from imageapi.config.plugins import Backends
from imageapi.lazy_api import LazyAPI
from tests.asgi import ASGIClient, ask_asgi, scope_of
from tests.deployment import Deployment, get


@pytest.fixture
def application(deployment: Deployment) -> Iterator[asgi.Application]:
    application = asgi.Application(imageapi.load_config([str(deployment.config_file)]))
    yield application
    application.close()


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("path", ["/v1/images/i", "/v1/images/absent", "/v1/images/i/", "/x"])
@pytest.mark.parametrize("wanted", ["", "bytes=1-2", "bytes=9-", "bytes=70000-"])
def test_answers_as_the_door_for_wsgi(
    deployment: Deployment, method: str, path: str, wanted: str
) -> None:
    deployment.configure(core="chunk_size = 1000")
    deployment.add("i", bytes(100_000), properties={"a": "b"})
    application = asgi.Application(imageapi.load_config([str(deployment.config_file)]))
    headers = [("range", wanted)] if wanted else []
    over_asgi = ask_asgi(application, path, method=method, headers=headers)
    over_wsgi = get(application.api, path, method, Host="h", **dict(headers))
    assert over_asgi.status == over_wsgi.status_int
    assert over_asgi.body == over_wsgi.body
    expected = [(name.lower(), value) for name, value in over_wsgi.headerlist]
    assert list(over_asgi.headers) == expected
    application.close()


def test_names_of_headers_go_out_in_lower_case(
    deployment: Deployment, application: asgi.Application
) -> None:
    deployment.add("i", b"data", name="\u00fc")
    answer = ask_asgi(application)
    assert [name for name, _ in answer.headers] == [name.lower() for name, _ in answer.headers]
    assert answer.header("x-image-meta-name").encode("latin-1").decode() == "\u00fc"


def test_mounted_by_starlette(deployment: Deployment, application: asgi.Application) -> None:
    deployment.add("i", b"data")
    app = Starlette(routes=[Mount("/glance", application), Mount("/v1", application)])
    under = ask_asgi(app, "/glance/v1/images/i")
    assert (under.status, under.body) == (200, b"data")
    assert under.header("x-image-meta-uri") == "http://h/glance/v1/images/i"
    at_v1 = ask_asgi(app, "/v1/images/i")
    assert (at_v1.status, at_v1.header("x-image-meta-uri")) == (200, "http://h/v1/images/i")
    assert ask_asgi(app, "/glance/images/i").status == 404


def test_caller_is_the_embedding_application_s(
    deployment: Deployment, application: asgi.Application
) -> None:
    deployment.add("i", b"data", is_public=False, owner="p")
    spoofed = [("x-identity-status", "Confirmed"), ("x-project-id", "p"), ("x-roles", "admin")]
    assert ask_asgi(application, headers=spoofed).status == 404
    keystone = {"keystone.token_auth": object()}
    assert ask_asgi(application, headers=spoofed, **keystone).status == 404
    assert ask_asgi(application, **{"imageapi.caller": Caller(project_id="p")}).body == b"data"
    assert ask_asgi(application, **{"imageapi.caller": "p"}).status == 500


def test_body_of_the_request_is_not_waited_for(
    deployment: Deployment, application: asgi.Application
) -> None:
    deployment.add("i", b"data")

    async def never() -> Message:
        raise AssertionError("it is asked for the body of a request")

    async def exchange(method: str) -> int:
        client = ASGIClient()
        headers = [("content-length", "100000"), ("expect", "100-continue")]
        await application(scope_of(method=method, headers=headers), never, client.send)
        return client.answer().status

    assert [asyncio.run(exchange(method)) for method in ("GET", "HEAD", "POST")] == [200, 200, 405]


def test_websocket_is_refused(application: asgi.Application) -> None:
    async def exchange() -> list[Message]:
        client = ASGIClient({"type": "websocket.connect"})
        await application({"type": "websocket", "path": "/"}, client.receive, client.send)
        return client.sent

    assert asyncio.run(exchange()) == [{"type": "websocket.close"}]


async def lifespan(app: Any) -> list[str]:
    client = ASGIClient({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"})
    await app({"type": "lifespan"}, client.receive, client.send)
    return [message["type"] for message in client.sent]


LIVED = ["lifespan.startup.complete", "lifespan.shutdown.complete"]


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[Backends]:
    """Those that were closed."""
    calls: list[Backends] = []
    monkeypatch.setattr(Backends, "close", lambda backends: calls.append(backends))
    return calls


def test_lifespan_closes_the_application(
    application: asgi.Application, closed: list[Backends]
) -> None:
    assert asyncio.run(lifespan(application)) == LIVED
    assert closed == [application.api.backends]


class Host:
    """An application behind the middleware. It remembers the requests."""

    def __init__(self) -> None:
        self.asked: list[Scope] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.append(scope)
        if scope["type"] == "lifespan":
            for _ in LIVED:
                await send({"type": f"{(await receive())['type']}.complete"})
        elif scope["type"] == "http":
            await send({"type": "http.response.start", "status": 299, "headers": []})
            await send({"type": "http.response.body", "body": b"host", "more_body": False})
        else:
            await send({"type": "websocket.accept"})


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def middleware(deployment: Deployment, host: Host) -> asgi.Middleware:
    deployment.add("i", b"data")
    return asgi.Middleware(host, imageapi.load_config([str(deployment.config_file)]))


def test_middleware_answers_for_images(middleware: asgi.Middleware, host: Host) -> None:
    assert ask_asgi(middleware).body == b"data"
    assert ask_asgi(middleware, method="HEAD").status == 200
    assert ask_asgi(middleware, "/v1/images/absent").status == 404
    assert host.asked == []
    middleware.close()


@pytest.mark.parametrize(
    ("path", "method"),
    [("/v1/images/i", "POST"), ("/v1/images/i/", "GET"), ("/x", "GET"), ("/", "HEAD")],
)
def test_middleware_passes_the_rest_on(
    middleware: asgi.Middleware, host: Host, path: str, method: str
) -> None:
    scope = scope_of(path, method)
    client = ASGIClient()
    asyncio.run(middleware(scope, client.receive, client.send))
    assert client.answer().status == 299
    assert host.asked == [scope]
    assert host.asked[0] is scope
    middleware.close()


def test_middleware_passes_websockets_on(middleware: asgi.Middleware, host: Host) -> None:
    client = ASGIClient()
    scope: Scope = {"type": "websocket", "path": "/v1/images/i"}
    asyncio.run(middleware(scope, client.receive, client.send))
    assert client.sent == [{"type": "websocket.accept"}]
    middleware.close()


def test_middleware_closes_after_the_wrapped_application_s_lifespan(
    middleware: asgi.Middleware, host: Host, closed: list[Backends]
) -> None:
    assert asyncio.run(lifespan(middleware)) == LIVED
    assert [scope["type"] for scope in host.asked] == ["lifespan"]
    assert closed == [middleware.images.api.backends]


def test_middleware_of_an_application_without_lifespan_goes_on(
    deployment: Deployment,
) -> None:
    async def refuses(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("no lifespan")

    deployment.add("i", b"data")
    middleware = asgi.Middleware(refuses, imageapi.load_config([str(deployment.config_file)]))
    with pytest.raises(RuntimeError, match="no lifespan"):
        asyncio.run(lifespan(middleware))
    assert ask_asgi(middleware).body == b"data"
    middleware.close()


@pytest.fixture
def lazy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """``imageapi.asgi:application`` of a process that has just started."""
    monkeypatch.delenv("IMAGEAPI_CONFIG_FILE", raising=False)
    application = _Door(LazyAPI(), 2)
    yield application
    application.close()


def test_application_reads_the_files_that_the_environment_names(
    lazy: Any, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.add("i", b"data")
    monkeypatch.setenv("IMAGEAPI_CONFIG_FILE", str(deployment.config_file))
    assert ask_asgi(lazy).body == b"data"
    assert ask_asgi(lazy, "/x").status == 404
    assert asyncio.run(lifespan(lazy)) == LIVED


def test_application_tells_what_is_wrong_to_the_log_only(
    lazy: Any,
    deployment: Deployment,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    deployment.add("i", b"data")
    monkeypatch.setenv("IMAGEAPI_CONFIG_FILE", str(deployment.config_file))
    deployment.configure(core="registry = flie")
    answer = ask_asgi(lazy)
    assert answer.status == 500
    assert b"flie" not in answer.body
    assert "configuration: [imageapi] registry: no installed distribution" in caplog.text
    deployment.configure()
    assert ask_asgi(lazy).body == b"data"


def test_nothing_is_built_for_the_lifespan(lazy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise it depends on the server whether a refused configuration prevents its start."""
    monkeypatch.setenv("IMAGEAPI_CONFIG_FILE", "/absent/imageapi.conf")
    assert asyncio.run(lifespan(lazy)) == LIVED
