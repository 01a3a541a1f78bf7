# SPDX-License-Identifier: Apache-2.0
"""What the suite tells its user; tests/conformance has what it finds in wrong backends."""

import time
from typing import Any

import pytest
import testtools

from imageapi.events.base import EventsBackend, Outcome, RequestEnded
from imageapi.testing.events_suite import EventsSuite
from tests.events import Recorder
from tests.unit.testing.cases import told_by


def define_events(events: type[EventsBackend] = Recorder, **others: Any) -> dict[str, Any]:
    """All that a subclass must define, and others."""
    return {"make_events": lambda _: events(), **others}  # type: ignore[call-arg]  # any events backend


def test_what_is_not_defined_is_named() -> None:
    told = told_by(EventsSuite, "admin")
    assert "define make_events(): it returns the backend under test" in told


@pytest.mark.parametrize("case", ["upstream_out_of_reach", "constructor_does_no_io"])
def test_backend_needs_no_upstream(case: str) -> None:
    assert told_by(EventsSuite, case, **define_events()) == ""


def test_event_is_a_complete_download_with_other_values() -> None:
    class Case(EventsSuite, testtools.TestCase):
        pass

    event = Case("test_admin").event(status=404, sent=0)
    assert (event.status, event.sent) == (404, 0)
    assert (event.outcome, event.sends_data, event.caller) == (
        Outcome.COMPLETE,
        True,
        EventsSuite.caller,
    )


def test_event_that_fails_is_named() -> None:
    class KnowsNoHead(Recorder):
        def request_ended(self, event: RequestEnded) -> None:
            if event.method == "HEAD":
                raise KeyError(event.method)

    told = told_by(EventsSuite, "every_kind_of_event", **define_events(KnowsNoHead))
    assert "request_ended(method='HEAD', status=None, Outcome.COMPLETE, ...) raised Key" in told


def test_time_limit_can_be_raised() -> None:
    class Slow(Recorder):
        def request_ended(self, event: RequestEnded) -> None:
            time.sleep(0.02)

    told = told_by(EventsSuite, "returns_quickly", **define_events(Slow, quick=0.001))
    assert "s for a request: leave the waiting to a thread" in told
    # No machine is so slow that a request takes a minute.
    assert told_by(EventsSuite, "returns_quickly", **define_events(Slow, quick=60)) == ""
