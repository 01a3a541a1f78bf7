# SPDX-License-Identifier: Apache-2.0
"""Who asks: taken from a WSGI environ, or built by the embedding application."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from imageapi.errors import BackendError

ENVIRON_KEY = "imageapi.caller"


@dataclass(frozen=True, kw_only=True)
class Caller:
    """The identity that a request is answered for.

    :ivar user_id: the user's id, None when anonymous.
    :ivar project_id: the id of the project that the user acts for.
    :ivar roles: the names of the user's roles, as they were given.
    :ivar is_admin: may know of every image; the policy still decides.
    :ivar token: what the caller gave as its own token, for backends that ask
        an upstream in the caller's name.  Without a user_id nobody has verified
        it.  Never shown.
    """

    user_id: str | None = None
    project_id: str | None = None
    roles: tuple[str, ...] = ()
    is_admin: bool = False
    token: str | None = field(default=None, repr=False)


ANONYMOUS = Caller()


def from_environ(environ: Mapping[str, Any], admin_roles: Iterable[str]) -> Caller:
    """The caller of a WSGI request; never from request headers alone.

    In this order: ``environ['imageapi.caller']``, put there by the embedding
    application; keystonemiddleware's identity headers, believed only when
    its ``keystone.token_auth`` is in the environ, a key that no client can
    set, and the status is Confirmed, that of a service token too where there
    is one; else an anonymous caller, whose token, where nobody has judged it
    yet, is just a text for an upstream to judge.

    :param admin_roles: roles that make an admin, compared without case.
    :raises BackendError: ``environ['imageapi.caller']`` is no `Caller`.
    """
    given = environ.get(ENVIRON_KEY)
    if given is not None:
        if not isinstance(given, Caller):
            raise BackendError(
                f"environ[{ENVIRON_KEY!r}] must be an imageapi.Caller,"
                f" not {type(given).__name__}: mend the application that put it there"
            )
        return given
    if "keystone.token_auth" not in environ:
        token = environ.get("HTTP_X_AUTH_TOKEN")
        return Caller(token=token) if token else ANONYMOUS
    if not _is_confirmed(environ):
        return ANONYMOUS
    return _from_keystone(environ, admin_roles)


def _is_confirmed(environ: Mapping[str, Any]) -> bool:
    """Whether keystonemiddleware would let the request pass, could it decide.

    A service token that is none makes it refuse the user too: beside one it has not
    looked at the user's access rules.
    """
    service = environ.get("HTTP_X_SERVICE_IDENTITY_STATUS", "Confirmed")
    return (environ.get("HTTP_X_IDENTITY_STATUS"), service) == ("Confirmed", "Confirmed")


def _from_keystone(environ: Mapping[str, Any], admin_roles: Iterable[str]) -> Caller:
    names = (name.strip() for name in environ.get("HTTP_X_ROLES", "").split(","))
    roles = tuple(name for name in names if name)
    admin = {name.lower() for name in admin_roles}
    return Caller(
        user_id=environ.get("HTTP_X_USER_ID") or None,
        project_id=environ.get("HTTP_X_PROJECT_ID") or environ.get("HTTP_X_TENANT_ID") or None,
        roles=roles,
        is_admin=any(role.lower() in admin for role in roles),
        token=environ.get("HTTP_X_AUTH_TOKEN") or None,
    )
