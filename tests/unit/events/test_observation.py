# SPDX-License-Identifier: Apache-2.0
import logging
import time

import pytest
import webob

from imageapi.events.base import Outcome
from imageapi.events.observation import Observers
from tests.events import Recorder


def test_request_ends_once() -> None:
    recorder = Recorder()
    one = Observers([recorder]).begin(webob.Request.blank("/v1/images/i"), "i")
    one.end(200, Outcome.COMPLETE)
    one.end(None, Outcome.LEFT)
    event = recorder.only()
    assert (event.status, event.outcome, event.image_id) == (200, Outcome.COMPLETE, "i")


def test_each_backend_is_told_even_if_another_fails() -> None:
    failing, working = Recorder(), Recorder()
    failing.fails = True
    Observers([failing, working]).begin(webob.Request.blank("/"), None).end(404, Outcome.COMPLETE)
    assert (len(failing.events), len(working.events)) == (1, 1)


def test_failures_are_logged_once_a_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    recorder = Recorder()
    recorder.fails = True
    observers = Observers([recorder])
    for now in (1.0, 30.0, 62.0, 90.0):  # noqa: B007 - the clock reads it
        observers.begin(webob.Request.blank("/"), None)
    assert [one.levelno for one in caplog.records] == [logging.ERROR] * 2
    assert "ValueError: a bug of the events backend" in caplog.text
