# SPDX-License-Identifier: Apache-2.0
from types import SimpleNamespace

import pytest

from imageapi.backends.http_client import retries
from imageapi.backends.http_client.client import NotReached
from imageapi.backends.http_client.retries import Retry, pauses
from imageapi.backends.http_client.urls import Url
from tests.unit.backends.upstream import response

URL = Url.parse("http://server/x")


def test_no_pause_is_longer_than_ten_seconds() -> None:
    assert list(pauses(10, None)) == [0.5, 1, 2, 4, 8, 10, 10, 10, 10, 10]
    assert list(pauses(2, 60)) == [10, 10]


def test_connections_and_statuses_are_counted_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(retries, "time", SimpleNamespace(sleep=slept.append))
    retry = Retry(pauses(1, 3), pauses(1, 4), (503,))
    assert not retry.after_answer(response(500), URL)
    assert retry.after_answer(response(503), URL)
    assert retry.after_no_answer(NotReached("down"))
    assert slept == [4, 3]
    assert not retry.after_answer(response(503), URL)
    assert not retry.after_no_answer(NotReached("down"))
