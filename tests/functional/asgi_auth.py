# SPDX-License-Identifier: Apache-2.0
"""Authentication in front of the examples for ASGI, for tests."""

import importlib
import os
from typing import Any

from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection

from tests.functional import basic_auth


class _Backend(AuthenticationBackend):
    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser] | None:
        user = basic_auth.user_of(conn.headers.get("Authorization"))
        return None if user is None else (AuthCredentials(), SimpleUser(user))


def authenticated() -> Any:
    """The application that EXAMPLE names, behind Starlette's AuthenticationMiddleware."""
    module, _, name = os.environ["EXAMPLE"].partition(":")
    app = getattr(importlib.import_module(module), name)
    return AuthenticationMiddleware(app, backend=_Backend())
