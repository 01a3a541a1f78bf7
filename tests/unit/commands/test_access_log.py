# SPDX-License-Identifier: Apache-2.0
"""What reaches the logger; test_logs.py has the lines that it writes."""

import logging

import pytest

from imageapi.commands.access_log import AccessLog
from imageapi.commands.logs import ACCESS
from imageapi.events.base import Load, Outcome, RequestEnded

EVENT = RequestEnded(
    method="GET",
    path="/v1/images/i",
    status=200,
    outcome=Outcome.COMPLETE,
    seconds=0.5,
    request_id="req-1",
)


@pytest.fixture
def access_records(monkeypatch: pytest.MonkeyPatch) -> list[logging.LogRecord]:
    """The records that the access log gets."""
    records: list[logging.LogRecord] = []
    monkeypatch.setattr(ACCESS, "handle", records.append)
    monkeypatch.setattr(ACCESS, "level", logging.INFO)
    monkeypatch.setattr(ACCESS, "_cache", {})
    return records


def test_one_record_for_each_response(access_records: list[logging.LogRecord]) -> None:
    access_log = AccessLog()
    for _ in range(2):
        access_log.request_began()
        access_log.request_ended(EVENT)
    assert [vars(record)["event"] for record in access_records] == [EVENT, EVENT]
    assert {record.levelno for record in access_records} == {logging.INFO}


def test_nothing_else_is_logged(access_records: list[logging.LogRecord]) -> None:
    access_log = AccessLog()
    access_log.request_began()
    access_log.loaded(Load(busy=1, waiting=0))
    assert access_log.check() == ""
    access_log.close()
    assert access_records == []
