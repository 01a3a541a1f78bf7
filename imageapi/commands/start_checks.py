# SPDX-License-Identifier: Apache-2.0
"""What ``serve`` checks before it listens."""

import errno
import logging
import os
import socket
from collections.abc import Iterable

from imageapi.config.plugins import Backends
from imageapi.errors import BackendError, ImageAPIError, only_backend_errors

LOG = logging.getLogger(__name__)

#: Set if the sockets are open already: by systemd, or by an older gunicorn.
INHERITED = ("LISTEN_FDS", "GUNICORN_FD")

_CAUSES = {
    errno.EADDRINUSE: "another process listens there",
    errno.EADDRNOTAVAIL: "this machine does not have the address",
    errno.EACCES: "this user may not listen on a port below 1024",
}


def refuse_unusable_addresses(addresses: Iterable[str], options: str) -> None:
    """Refuse addresses on which a server cannot listen.

    gunicorn would try for seconds, and log ten errors.

    :param addresses: each ADDRESS:PORT, with an IPv6 address in brackets.
    :param options: the options that choose the addresses, for the error.
    :raises ImageAPIError: an address cannot be used.
    """
    if any(name in os.environ for name in INHERITED):
        return
    for address in addresses:
        cause = _cause_against(address)
        if cause:
            message = f"cannot listen on {address}: {cause}: choose another with {options}"
            raise ImageAPIError(message)


def _cause_against(address: str) -> str:
    """Return why a server cannot listen on an address; empty if it can."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError):
        return f"the host {host!r} has no address"
    family, kind, protocol, _, where = found[0]
    with socket.socket(family, kind, protocol) as probe:
        # As gunicorn: connections that were closed a short time ago do not matter.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(where)
        except OSError as error:
            cause = _CAUSES.get(error.errno or 0)
            return f"{error.strerror}{f'; {cause}' if cause else ''}"
    return ""


def log_failing(backends: Backends) -> None:
    """Log each folder that cannot be used.

    It does not prevent the start: the file system may be mounted later, and other
    stores may work.
    """
    for loaded in backends:
        if not loaded.backend.checks_at_start:
            continue
        try:
            with only_backend_errors(loaded):
                loaded.backend.check()
        except BackendError as error:
            LOG.error("%s: %s; correct this; until then, its requests fail", loaded, error)
