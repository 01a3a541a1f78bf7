# SPDX-License-Identifier: Apache-2.0
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.asgi.protocol import ASGIProtocol

from imageapi.commands.worker import Connection


def test_nothing_is_written_once_a_connection_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The event loop closes the socket next; then its number may be another client's."""
    calls: list[str] = []
    monkeypatch.setattr(ASGIProtocol, "connection_lost", lambda *_: calls.append("lost"))
    connection: Any = Connection.__new__(Connection)
    connection.worker = SimpleNamespace(forget=lambda _: None)
    connection._writer = SimpleNamespace(close=lambda: calls.append("writer"))
    connection.connection_lost(None)
    assert calls == ["writer", "lost"]
