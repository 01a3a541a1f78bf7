# SPDX-License-Identifier: Apache-2.0
import dataclasses
from typing import Any

import pytest
from oslo_config import cfg

from imageapi.caller import ANONYMOUS
from imageapi.events.base import EventsBackend, Load, Outcome, RequestEnded
from imageapi.testing.suite import build

LEAST: dict[str, Any] = {
    "method": "GET",
    "path": "/v1/images/i",
    "status": 200,
    "outcome": Outcome.COMPLETE,
    "seconds": 0.5,
    "request_id": "req-1",
}


class LeastEvents(EventsBackend):
    """Defines only what it must."""

    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        pass

    def check(self) -> str:
        return ""

    def request_ended(self, event: RequestEnded) -> None:
        pass


def test_what_a_subclass_must_define() -> None:
    assert EventsBackend.__abstractmethods__ == {"__init__", "check", "request_ended"}


def test_begin_and_load_may_be_ignored() -> None:
    events = build(LeastEvents)
    events.request_began()
    events.loaded(Load(busy=1, waiting=2))


def test_event_of_a_request_that_names_no_image_and_gets_no_data() -> None:
    event = RequestEnded(**LEAST)
    assert (event.image_id, event.image, event.store, event.remote_address) == (None,) * 4
    assert event.caller is ANONYMOUS
    assert (event.sends_data, event.sent, event.resumed) == (False, 0, 0)
    assert (event.is_verified, event.is_wrong) == (False, False)


@pytest.mark.parametrize("name", LEAST)
def test_value_that_is_always_known(name: str) -> None:
    """A status is known too: None says that there was no response."""
    given = {other: value for other, value in LEAST.items() if other != name}
    with pytest.raises(TypeError, match=name):
        RequestEnded(**given)


@pytest.mark.parametrize("record", [RequestEnded(**LEAST), Load(busy=1, waiting=2)])
def test_backends_share_records_that_none_can_change(record: Any) -> None:
    name = dataclasses.fields(record)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(record, name, 3)


def test_outcomes_are_the_words_of_the_access_log() -> None:
    assert [outcome.value for outcome in Outcome] == ["complete", "broken off", "left"]
