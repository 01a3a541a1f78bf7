# SPDX-License-Identifier: Apache-2.0
"""A clock that a test moves forward, so that timeouts do not depend on the machine."""

import threading

import pytest


class Clock:
    """Stands for the module ``time`` in a module of the library.

    :ivar step: by how many seconds each call moves the clock; 0 at first.
    """

    def __init__(self) -> None:
        self.step = 0.0
        self._now = 0.0
        self._looks = 0
        self._changed = threading.Condition()

    def monotonic(self) -> float:
        with self._changed:
            self._looks += 1
            self._now += self.step
            self._changed.notify_all()
            return self._now

    def wait_for_looks(self, count: int) -> None:
        """Wait until the clock was read this number of times."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._looks >= count, 60)


def clock_of(module: object, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Replace ``time`` in a module of the library by a clock."""
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock
