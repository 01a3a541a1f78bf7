# SPDX-License-Identifier: Apache-2.0
"""A made-up caller, to try a policy without an identity service."""

import argparse
import ipaddress
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace

from webob import exc

from imageapi.authorization import StrictAuthorization
from imageapi.caller import Caller, has_admin_role
from imageapi.commands import arguments
from imageapi.commands.start_checks import INHERITED
from imageapi.config.plugins import Backends
from imageapi.errors import ConfigurationError, ImageAPIError
from imageapi.image import Image
from imageapi.listing.members import members_for
from imageapi.policy.base import DOWNLOAD_IMAGE, GET_IMAGE, GET_IMAGES, GET_MEMBERS, Target

LOG = logging.getLogger(__name__)

_FLAGS = "--as-user, --as-project, --as-role or --as-anonymous"

# What the policy is asked about one image.
_ACTIONS = (GET_IMAGE, DOWNLOAD_IMAGE, GET_MEMBERS)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments; `caller_of` reads them."""
    group = parser.add_argument_group(
        "made-up caller", "Try the policy as this caller, without an identity service."
    )
    group.add_argument("--as-user", metavar="U", type=_word, help="the id of the user")
    group.add_argument("--as-project", metavar="P", type=_word, help="the id of the project")
    group.add_argument(
        "--as-role",
        metavar="R",
        type=_word,
        action="append",
        default=[],
        help="a role; may be repeated. One of [imageapi] admin_roles makes the caller an admin",
    )
    group.add_argument(
        "--as-anonymous", action="store_true", help="a caller without user, project and roles"
    )


def _word(text: str) -> str:
    if text:
        return arguments.utf8(text)
    raise argparse.ArgumentTypeError("must not be empty; use --as-anonymous alone")


def caller_of(options: argparse.Namespace, admin_roles: Iterable[str]) -> Caller | None:
    """Return the caller of the arguments; None if they describe none.

    :raises ImageAPIError: an anonymous caller has a user, a project or a role.
    """
    caller = Caller(
        user_id=options.as_user,
        project_id=options.as_project,
        roles=tuple(options.as_role),
        is_admin=has_admin_role(options.as_role, admin_roles),
    )
    is_named = caller != Caller()
    if options.as_anonymous and is_named:
        raise ImageAPIError("--as-anonymous excludes --as-user, --as-project and --as-role")
    return caller if is_named or options.as_anonymous else None


def text_of(caller: Caller) -> str:
    """Return a caller in words."""
    if caller == Caller():
        return "anonymous"
    words = [
        f"user {caller.user_id!r}" if caller.user_id else "no user",
        f"project {caller.project_id!r}" if caller.project_id else "no project",
        f"roles {', '.join(map(repr, caller.roles))}" if caller.roles else "no roles",
    ]
    return ", ".join([*words, "an admin" if caller.is_admin else "not an admin"])


def warn_of(caller: Caller | None) -> None:
    """If there is a made-up caller, log that a server answers everybody as this caller."""
    if caller is None:
        return
    LOG.warning(
        "FOR TRIALS ONLY: every request is answered as the made-up caller (%s), and the"
        " identity of clients is ignored: any program of this machine can read what this"
        " caller can read; to end this, start without %s",
        *(text_of(caller), _FLAGS),
    )


def refuse_other_machines(addresses: Iterable[str]) -> None:
    """Refuse addresses at which other machines reach a server with a made-up caller.

    :param addresses: each ADDRESS:PORT, with an IPv6 address in brackets.
    :raises ConfigurationError: contains each address that is not of the loopback interface.
    """
    inherited = [name for name in INHERITED if name in os.environ]
    if inherited:
        problem = f"{inherited[0]} is set: a server with a made-up caller opens its own socket"
        raise ConfigurationError([f"{problem}; start it without {_FLAGS}"])
    problems = [
        f"cannot listen on {address} with a made-up caller: other machines could use it;"
        f" choose 127.0.0.1 or [::1] with --host, or start without {_FLAGS}"
        for address in addresses
        if not _is_loopback(address)
    ]
    if problems:
        raise ConfigurationError(problems)


def _is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        # A name may have another address later.
        return False


@dataclass(frozen=True)
class Answers:
    """What a caller may do with an image.

    :ivar image: with the properties and members that the caller may see; None if it is
        absent for the caller.
    :ivar allowed: which actions the policy allows.
    """

    image_id: str
    caller: Caller
    image: Image | None
    allowed: frozenset[str] = frozenset()

    def visible_image(self) -> Image:
        """Return the image.

        :raises ImageAPIError: the caller may not see it.
        """
        if self.image is None or GET_IMAGE not in self.allowed:
            raise ImageAPIError(f"image {self.image_id}: {self} (caller: {text_of(self.caller)})")
        return self.image

    def may_have_data(self) -> bool:
        """Whether the caller may download the image."""
        active = self.image is not None and self.image.is_active
        return active and {GET_IMAGE, DOWNLOAD_IMAGE} <= self.allowed

    def __str__(self) -> str:
        if self.image is None:
            download = "404" if DOWNLOAD_IMAGE in self.allowed else "403"
            return f"absent or hidden for this caller, so GET gets {download}"
        words = ", ".join(
            f"{action} {'allowed' if action in self.allowed else 'refused'}" for action in _ACTIONS
        )
        no_data = "" if self.image.is_active else f"; no data: its status is {self.image.status!r}"
        return f"{words}{no_data}"


class Trial:
    """Asks the registry and the policy of a configuration in the name of one caller."""

    def __init__(self, backends: Backends, caller: Caller) -> None:
        self.caller = caller
        self._auth = StrictAuthorization(backends)

    def lists(self) -> bool:
        """Whether the policy lets the caller list images.

        :raises PolicyUnavailable: the policy fails.
        """
        return self._auth.allows(GET_IMAGES, self.caller)

    def ask(self, image_id: str) -> Answers:
        """Ask what the caller may do with an image; no data is opened.

        :raises PolicyUnavailable: the policy fails.
        :raises BackendError: the registry fails, or the record is malformed.
        """
        caller = self.caller
        try:
            found = self._auth.find(image_id, caller, (GET_IMAGE, DOWNLOAD_IMAGE), newest=True)
        except exc.HTTPNotFound:
            return Answers(image_id, caller, None, frozenset({DOWNLOAD_IMAGE}))
        except exc.HTTPForbidden:
            return Answers(image_id, caller, None)
        image = self._auth.shown(found, caller)
        target = Target(image)
        allowed = frozenset(it for it in _ACTIONS if self._auth.allows(it, caller, target))
        members = members_for(image, caller) if GET_MEMBERS in allowed else ()
        return Answers(image_id, caller, replace(image, members=frozenset(members)), allowed)
