# SPDX-License-Identifier: Apache-2.0
import logging
from typing import Any

import pytest
import webob

from tests.memory import MEMBER, Memory


def test_backends_are_told_who_asks(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.put(b"data")
    told: list[object] = []
    gets, opens = memory.registry.get, memory.store.open

    def get(image_id: str, caller: Any) -> Any:
        told.append(caller)
        return gets(image_id, caller)

    def open_for(location: Any, **asked: Any) -> Any:
        told.append(asked["caller"])
        return opens(location, **asked)

    monkeypatch.setattr(memory.registry, "get", get)
    monkeypatch.setattr(memory.store, "open", open_for)
    assert memory.get(caller=MEMBER).body == b"data"
    assert told == [MEMBER, MEMBER]


def test_caller_that_is_none_is_told_to_the_log(
    memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    memory.put(b"data")
    request = webob.Request.blank("/v1/images/i")
    request.environ["imageapi.caller"] = "s3cret"
    response = request.send(memory.api)
    assert response.status_code == 500
    assert "image i " in response.text.lower()
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage() == (
        "environ['imageapi.caller'] must be an imageapi.Caller, not str:"
        " mend the application that put it there"
    )
