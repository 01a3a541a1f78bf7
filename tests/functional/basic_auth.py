# SPDX-License-Identifier: Apache-2.0
"""Basic authentication in front of the examples, for tests. The password is the name."""

import base64
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


def header_of(user: str) -> str:
    """The value of Authorization for a user."""
    return "Basic " + base64.b64encode(f"{user}:{user}".encode()).decode()


def user_of(header: str | None) -> str | None:
    """The user that an Authorization header names; None if the password is wrong."""
    if header is None or not header.startswith("Basic "):
        return None
    user, _, password = base64.b64decode(header[6:]).decode().partition(":")
    return user if user == password else None


def wsgi(app: WSGIApplication) -> WSGIApplication:
    """Set REMOTE_USER for an application, as web servers do."""

    def authenticated(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        user = user_of(environ.get("HTTP_AUTHORIZATION"))
        if user is not None:
            environ["REMOTE_USER"] = user
        return app(environ, start_response)

    return authenticated
