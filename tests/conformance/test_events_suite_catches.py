# SPDX-License-Identifier: Apache-2.0
"""Each case of the suite of events backends fails for a backend that does it wrong."""

from typing import Any

import pytest
import testtools

from imageapi.testing.events_suite import EventsSuite
from imageapi.testing.suite import BackendSuite, build
from tests.conformance import wrong_events as wrong

EVENTS: list[tuple[type[wrong.Right], str, str]] = [
    (wrong.KnowsFewStatuses, "every_kind_of_event", "status=304, Outcome.COMPLETE, ...) raised Ke"),
    (wrong.DividesByTime, "every_kind_of_event", "raised ZeroDivisionError"),
    (
        wrong.RaisesForTheIncomplete,
        "every_kind_of_event",
        "must work here, but raised BackendUnavailable",
    ),
    (wrong.WantsStatus, "nothing_is_known", "status=None, Outcome.COMPLETE, ...) raised TypeError"),
    (wrong.WantsImage, "nothing_is_known", "raised AttributeError"),
    (wrong.WantsRemoteAddress, "nothing_is_known", "raised AttributeError"),
    (wrong.EventsWantUser, "anonymous_caller", "raised AttributeError"),
    (wrong.WantsNoAdmin, "admin", "raised PermissionError"),
    (wrong.EncodesStrictly, "odd_texts", "raised UnicodeEncodeError"),
    (wrong.FormatsTwice, "odd_texts", "raised KeyError: 'name'"),
    (wrong.DividesByThreads, "loaded", "loaded(Load(busy=0, waiting=0)) raised ZeroDivisionError"),
    (wrong.ChangesProperties, "leaves_the_event_alone", "must not change the event or its image"),
    (wrong.Waits, "returns_quickly", "s for a request: leave the waiting to a thread"),
    (
        wrong.WaitsWhenUnreachable,
        "upstream_out_of_reach",
        "a backend with an unreachable upstream takes 0.1",
    ),
    (
        wrong.RaisesWhenUnreachable,
        "upstream_out_of_reach",
        "must work here, but raised BackendUnavailable",
    ),
    (wrong.LeavesThread, "close_leaves_nothing", "close() left 0 descriptors and 1 threads"),
    (
        wrong.ClosesUsedOnce,
        "close_leaves_nothing",
        "a second close() after events raised ValueError",
    ),
    (wrong.Leaks, "leaves_no_descriptors_open", "left 50 descriptors open: close each"),
    (
        wrong.SharesEvent,
        "ten_threads",
        "it fails when ten threads use it at once: lock shared state",
    ),
    (wrong.EventsFailAfterFork, "after_a_fork", "created before a fork, it fails"),
    (wrong.EventsDieAfterFork, "after_a_fork", "it died"),
    (wrong.LogsToken, "shows_no_secret", "a line in the log shows secret"),
    (wrong.LogsLocations, "shows_no_secret", "a line in the log shows secret"),
    (wrong.RaisesLocations, "shows_no_secret", "an error shows secret"),
    (wrong.EventsRememberToken, "shows_no_secret", "the backend shows secret"),
]


class RightSuite(EventsSuite, mixin=True):
    """For events backends made from `Right`."""

    backend_class: type[wrong.Right] = wrong.Right

    def make_events(self) -> wrong.Right:
        return build(self.backend_class)

    def make_unreachable(self) -> wrong.Right:
        events = build(self.backend_class)
        events.reachable = False
        return events


class TestRight(RightSuite, testtools.TestCase):
    pass


@pytest.mark.parametrize(("backend", "case", "hint"), EVENTS)
def test_catches(backend: type[wrong.Right], case: str, hint: str) -> None:
    suite: Any = type("Wrong", (RightSuite, testtools.TestCase), {"backend_class": backend})
    result = testtools.TestResult()
    suite(f"test_{case}").run(result)
    assert not result.errors
    ((_, told),) = result.failures
    assert hint in told
    assert "suite-token" not in told
    assert "suite-secret" not in told


def test_each_case_catches_something() -> None:
    cases = {name for name in dir(EventsSuite) if name.startswith("test_")}
    shared = {name for name in dir(BackendSuite) if name.startswith("test_")}
    assert cases - shared == {f"test_{case}" for _, case, _ in EVENTS}
