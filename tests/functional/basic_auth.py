# SPDX-License-Identifier: Apache-2.0
"""Stands for what authenticates users in front of the examples: Basic, name as password."""

import base64
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


def header_of(user: str) -> str:
    """What a client sends to be this user."""
    return "Basic " + base64.b64encode(f"{user}:{user}".encode()).decode()


def user_of(header: str | None) -> str | None:
    """Who sends this; None where it is nobody whose password is right."""
    if header is None or not header.startswith("Basic "):
        return None
    user, _, password = base64.b64decode(header[6:]).decode().partition(":")
    return user if user == password else None


def wsgi(app: WSGIApplication) -> WSGIApplication:
    """Tell an application in REMOTE_USER who asks, as web servers do."""

    def authenticated(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        user = user_of(environ.get("HTTP_AUTHORIZATION"))
        if user is not None:
            environ["REMOTE_USER"] = user
        return app(environ, start_response)

    return authenticated
