# SPDX-License-Identifier: Apache-2.0
"""The scope of an ASGI request -> the environ that the core reads."""

import io
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any
from urllib.parse import unquote, unquote_to_bytes
from wsgiref.types import WSGIEnvironment

from imageapi.caller import ENVIRON_KEY

# The names that ASGI uses for what a server passes to an application.
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApplication = Callable[[Scope, Receive, Send], Awaitable[None]]

# In WSGI these have other names, and imageapi does not read the body of a request.
_NOT_HEADERS = frozenset((b"content-length", b"content-type"))

_DEFAULT_PORTS = {"http": 80, "https": 443}


def environ_of(scope: Scope) -> WSGIEnvironment:
    """Return a WSGI environ without a body.

    Of the keys that applications add to the scope, only ``imageapi.caller`` is copied.
    No other such key is known to mean that an identity was verified.
    """
    script_name, path_info = paths_of(scope)
    scheme = scope.get("scheme", "http")
    host, port = scope.get("server") or ("localhost", None)
    environ: WSGIEnvironment = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": script_name,
        "PATH_INFO": path_info,
        "QUERY_STRING": scope.get("query_string", b"").decode("latin-1"),
        "SERVER_NAME": host,
        "SERVER_PORT": str(port or _DEFAULT_PORTS.get(scheme, 80)),
        "SERVER_PROTOCOL": f"HTTP/{scope.get('http_version', '1.1')}",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scheme,
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    _add_headers(environ, scope["headers"])
    client = scope.get("client")
    if client:
        environ["REMOTE_ADDR"] = client[0]
    if ENVIRON_KEY in scope:
        environ[ENVIRON_KEY] = scope[ENVIRON_KEY]
    return environ


def paths_of(scope: Mapping[str, Any]) -> tuple[str, str]:
    """Return WSGI's SCRIPT_NAME and PATH_INFO: bytes that are decoded as latin-1.

    ASGI's path begins with the root path, but some servers and frameworks omit it.
    """
    root = _as_wsgi(scope.get("root_path", "")).rstrip("/")
    path = _path(scope)
    if root and (path == root or path.startswith(f"{root}/")):
        path = path[len(root) :]
    return root, path


def _path(scope: Mapping[str, Any]) -> str:
    path: str = scope["path"]
    raw: bytes | None = scope.get("raw_path")
    # Only the raw path has bytes that are not UTF-8.  But if a router has changed the
    # other path, and not the raw one, the changed path applies.
    if raw and unquote(raw.decode("latin-1")) == path:
        return unquote_to_bytes(raw).decode("latin-1")
    return _as_wsgi(path)


def _as_wsgi(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode("latin-1")


def _add_headers(environ: WSGIEnvironment, headers: Iterable[tuple[bytes, bytes]]) -> None:
    for name, value in headers:
        # A name with an underscore would replace the same name with a hyphen.
        if b"_" in name or name in _NOT_HEADERS:
            continue
        key = "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
        text = value.decode("latin-1")
        environ[key] = f"{environ[key]},{text}" if key in environ else text
