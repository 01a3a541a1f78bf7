# SPDX-License-Identifier: Apache-2.0
"""Wait for what another process or thread brings about."""

import time
from collections.abc import Callable


def becomes_true(is_so: Callable[[], object], seconds: float = 60) -> bool:
    """Whether a condition is true now, or becomes true within some seconds."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def wait_until(is_so: Callable[[], object], failure: str, seconds: float = 60) -> None:
    """Wait until a condition is true.

    :raises AssertionError: it does not become true in time; ``failure`` is the text.
    """
    assert becomes_true(is_so, seconds), failure
