# SPDX-License-Identifier: Apache-2.0
"""The caller of a request: read from a WSGI environ, or built by the embedding application."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from imageapi.errors import BackendError

ENVIRON_KEY = "imageapi.caller"


@dataclass(frozen=True, kw_only=True)
class Caller:
    """The identity of the client that sends a request.

    :ivar user_id: the user's id; None if anonymous.
    :ivar project_id: the id of the project that the user acts for.
    :ivar roles: the names of the user's roles, in their original spelling.
    :ivar is_admin: whether the caller may know of every image.  The policy still
        decides on each access.
    :ivar token: the token that the caller sent, for backends that send requests to
        an upstream in the caller's name.  Without a user_id, nobody has verified
        it.  It is never shown.
    """

    user_id: str | None = None
    project_id: str | None = None
    roles: tuple[str, ...] = ()
    is_admin: bool = False
    token: str | None = field(default=None, repr=False)


ANONYMOUS = Caller()


def from_environ(environ: Mapping[str, Any], admin_roles: Iterable[str]) -> Caller:
    """Return the caller of a WSGI request; never from request headers alone.

    The first of these applies:

    1. ``environ['imageapi.caller']``, which the embedding application has set.
    2. keystonemiddleware's identity headers, if its ``keystone.token_auth`` is in
       the environ.  No client can set that key.  The caller is anonymous unless the
       status is Confirmed; if there is a service token, its status too.
    3. An anonymous caller with the token of the request.  Nobody has verified this
       token; it is a text that only an upstream can judge.

    :param admin_roles: the roles that make a caller an admin, in upper or lower case.
    :raises BackendError: ``environ['imageapi.caller']`` is not a `Caller`.
    """
    given = environ.get(ENVIRON_KEY)
    if given is not None:
        if not isinstance(given, Caller):
            raise BackendError(
                f"environ[{ENVIRON_KEY!r}] must be an imageapi.Caller,"
                f" not {type(given).__name__}: correct the application that set it"
            )
        return given
    if "keystone.token_auth" not in environ:
        token = environ.get("HTTP_X_AUTH_TOKEN")
        return Caller(token=token) if token else ANONYMOUS
    if not _is_confirmed(environ):
        return ANONYMOUS
    return _from_keystone(environ, admin_roles)


def has_admin_role(roles: Iterable[str], admin_roles: Iterable[str]) -> bool:
    """Whether one of the roles makes a caller an admin; upper and lower case are the same."""
    admin = {name.lower() for name in admin_roles}
    return any(role.lower() in admin for role in roles)


def _is_confirmed(environ: Mapping[str, Any]) -> bool:
    """Whether keystonemiddleware would accept the request, if it did not delay the decision.

    With an invalid service token, the user's token is not accepted either, because
    keystonemiddleware has then not checked the user's access rules.
    """
    service = environ.get("HTTP_X_SERVICE_IDENTITY_STATUS", "Confirmed")
    return (environ.get("HTTP_X_IDENTITY_STATUS"), service) == ("Confirmed", "Confirmed")


def _from_keystone(environ: Mapping[str, Any], admin_roles: Iterable[str]) -> Caller:
    names = (name.strip() for name in environ.get("HTTP_X_ROLES", "").split(","))
    roles = tuple(name for name in names if name)
    return Caller(
        user_id=environ.get("HTTP_X_USER_ID") or None,
        project_id=environ.get("HTTP_X_PROJECT_ID") or environ.get("HTTP_X_TENANT_ID") or None,
        roles=roles,
        is_admin=has_admin_role(roles, admin_roles),
        token=environ.get("HTTP_X_AUTH_TOKEN") or None,
    )
