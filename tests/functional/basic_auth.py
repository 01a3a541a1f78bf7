# SPDX-License-Identifier: Apache-2.0
"""Stands for what authenticates users in front of the examples: Basic, name as password."""

import base64
import importlib
import os
from collections.abc import Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection


def header_of(user: str) -> str:
    """What a client sends to be this user."""
    return "Basic " + base64.b64encode(f"{user}:{user}".encode()).decode()


def _user_of(header: str | None) -> str | None:
    if header is None or not header.startswith("Basic "):
        return None
    user, _, password = base64.b64decode(header[6:]).decode().partition(":")
    return user if user == password else None


def wsgi(app: WSGIApplication) -> WSGIApplication:
    """Tell an application in REMOTE_USER who asks, as web servers do."""

    def authenticated(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        user = _user_of(environ.get("HTTP_AUTHORIZATION"))
        if user is not None:
            environ["REMOTE_USER"] = user
        return app(environ, start_response)

    return authenticated


class _Backend(AuthenticationBackend):
    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser] | None:
        user = _user_of(conn.headers.get("Authorization"))
        return None if user is None else (AuthCredentials(), SimpleUser(user))


def asgi() -> Any:
    """The application that the environment names, with Starlette's own middleware in front."""
    module, _, name = os.environ["EXAMPLE"].partition(":")
    app = getattr(importlib.import_module(module), name)
    return AuthenticationMiddleware(app, backend=_Backend())
