# SPDX-License-Identifier: Apache-2.0
"""A clock for timeouts that a test lets pass, however fast or slow the machine is."""

import threading

import pytest


class Clock:
    """Stands for the module ``time`` in a module of the library.

    :ivar step: how many seconds each look at it takes; none at first.
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
        """Wait until it was looked at so often."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._looks >= count, 60)


def clock_of(module: object, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Give a module of the library such a clock."""
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock
