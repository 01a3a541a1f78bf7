# SPDX-License-Identifier: Apache-2.0
from typing import Any

import pytest
import webob

from imageapi.asgi.scope import environ_of
from imageapi.caller import Caller
from tests.asgi import scope_of


def test_environ_is_what_a_wsgi_server_makes() -> None:
    scope = scope_of(
        "/v1/images/i",
        "HEAD",
        query_string=b"format=json&x=\xff",
        headers=[("range", "bytes=0-1"), ("x-auth-token", "t")],
        scheme="https",
        server=("h", 8443),
    )
    environ = environ_of(scope)
    assert environ["REQUEST_METHOD"] == "HEAD"
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("", "/v1/images/i")
    assert environ["QUERY_STRING"] == "format=json&x=\xff"
    assert environ["HTTP_RANGE"] == "bytes=0-1"
    assert environ["HTTP_X_AUTH_TOKEN"] == "t"
    assert environ["REMOTE_ADDR"] == "192.0.2.1"
    assert environ["SERVER_PROTOCOL"] == "HTTP/1.1"
    request = webob.Request(environ)
    assert request.host_url == "https://h"
    assert request.body == b""


def test_server_and_client_may_be_unknown() -> None:
    """On a Unix socket they are."""
    scope = scope_of(server=None, client=None, scheme="https")
    scope["headers"] = []
    environ = environ_of(scope)
    assert "REMOTE_ADDR" not in environ
    assert webob.Request(environ).host_url == "https://localhost"
    assert environ_of(scope_of(server=("/run/socket", None)))["SERVER_PORT"] == "80"
    for absent in ("scheme", "server", "client", "root_path", "query_string", "raw_path"):
        del scope[absent]
    assert webob.Request(environ_of(scope)).url == "http://localhost/v1/images/i"


def test_duplicates_are_joined() -> None:
    headers = [("if-match", '"a"'), ("if-match", '"b"')]
    assert environ_of(scope_of(headers=headers))["HTTP_IF_MATCH"] == '"a","b"'


@pytest.mark.parametrize("first", [True, False])
def test_underscores_take_no_header_s_place(first: bool) -> None:
    right, wrong = ("x-auth-token", "right"), ("x_auth-token", "wrong")
    headers = [wrong, right] if first else [right, wrong]
    assert environ_of(scope_of(headers=headers))["HTTP_X_AUTH_TOKEN"] == "right"
    assert "HTTP_X_AUTH_TOKEN" not in environ_of(scope_of(headers=[wrong]))


def test_header_is_read_as_latin_1() -> None:
    assert environ_of(scope_of(headers=[("x-name", "\xff")]))["HTTP_X_NAME"] == "\xff"


def test_body_is_not_there() -> None:
    """Otherwise WebOb would wait for the body."""
    headers = [("content-length", "100000"), ("content-type", "text/plain")]
    environ = environ_of(scope_of(headers=headers))
    assert not [name for name in environ if "CONTENT" in name]


UMLAUT = "\u00fc".encode().decode("latin-1")


@pytest.mark.parametrize(
    ("given", "script_name", "path_info"),
    [
        (
            {"path": "/v1/images/\u00fc", "raw_path": b"/v1/images/%C3%BC"},
            "",
            f"/v1/images/{UMLAUT}",
        ),
        # Not UTF-8: only the raw path has the bytes.
        ({"path": "/v1/images/\ufffd", "raw_path": b"/v1/images/%ff"}, "", "/v1/images/\xff"),
        ({"path": "/v1/images/\u00fc", "raw_path": None}, "", f"/v1/images/{UMLAUT}"),
        # A router that changes only the path.
        ({"path": "/v1/images/i", "raw_path": b"/site/v1/images/i"}, "", "/v1/images/i"),
        ({"path": "/v1/images/\ud800", "raw_path": None}, "", "/v1/images/?"),
        ({"path": "/a/v1/images/i", "root_path": "/a"}, "/a", "/v1/images/i"),
        ({"path": "/v1/images/i", "root_path": "/a"}, "/a", "/v1/images/i"),
        ({"path": "/a/v1/images/i", "root_path": "/a/"}, "/a", "/v1/images/i"),
        ({"path": "/ab/v1/images/i", "root_path": "/a"}, "/a", "/ab/v1/images/i"),
        ({"path": "/a", "root_path": "/a"}, "/a", ""),
        (
            {"path": "/\u00fc/x", "raw_path": b"/%C3%BC/x", "root_path": "/\u00fc"},
            f"/{UMLAUT}",
            "/x",
        ),
    ],
)
def test_paths(given: dict[str, Any], script_name: str, path_info: str) -> None:
    raw_path = given["path"].encode("utf-8", "replace")
    environ = environ_of(scope_of(**{"raw_path": raw_path, **given}))
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == (script_name, path_info)


def test_identity_comes_from_the_application_alone() -> None:
    caller = Caller(user_id="u")
    assert environ_of(scope_of(**{"imageapi.caller": caller}))["imageapi.caller"] is caller
    scope = scope_of(**{"keystone.token_auth": object(), "REMOTE_USER": "admin"})
    scope["headers"] += [(b"imageapi.caller", b"x"), (b"keystone.token-auth", b"x")]
    environ = environ_of(scope)
    assert not {"imageapi.caller", "keystone.token_auth", "REMOTE_USER"} & set(environ)
