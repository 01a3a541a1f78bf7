# SPDX-License-Identifier: Apache-2.0
"""What this process has open, and whether it contacts an upstream."""

import contextlib
import functools
import gc
import os
import sys
import threading
from collections.abc import Iterator

# Audit events of Python that mean contact with an upstream.
_EVENTS_OF_UPSTREAMS = frozenset(
    "os.exec os.fork os.posix_spawn os.system socket.connect socket.getaddrinfo sqlite3.connect"
    " subprocess.Popen".split()
)
# Its ``events`` collects those of the thread, while it is not None.
_watched = threading.local()
# Audit hooks cannot be removed, so each is added only once.
_add_audit_hook = functools.cache(sys.addaudithook)


def descriptors() -> int:
    """Return the number of open descriptors of this process."""
    return len(os.listdir("/proc/self/fd"))


def open_files() -> frozenset[tuple[str, str]]:
    """Return the number of each open descriptor, and what it leads to.

    Unlike a count, this shows a descriptor that was opened while another one was closed.
    """
    # What earlier tests left would otherwise be closed between two calls.
    gc.collect()
    found = set()
    for number in os.listdir("/proc/self/fd"):
        # The descriptor of this listing itself is closed already.
        with contextlib.suppress(FileNotFoundError):
            found.add((number, os.readlink(f"/proc/self/fd/{number}")))
    return frozenset(found)


@contextlib.contextmanager
def upstream_asked() -> Iterator[list[str]]:
    """Collect the audit events of this thread that mean contact with an upstream."""
    _add_audit_hook(_note_event)
    events: list[str] = []
    _watched.events = events
    try:
        yield events
    finally:
        _watched.events = None


def _note_event(event: str, _arguments: object) -> None:
    if event in _EVENTS_OF_UPSTREAMS and (events := getattr(_watched, "events", None)) is not None:
        events.append(event)
