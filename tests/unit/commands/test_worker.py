# SPDX-License-Identifier: Apache-2.0
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.asgi.protocol import ASGIProtocol

from imageapi.asgi.socket_writer import EXTENSION, Turns
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


@pytest.mark.parametrize("tls", [True, False])
def test_threads_write_to_no_connection_with_tls(
    tls: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their bytes would leave in plain text."""
    monkeypatch.setattr(ASGIProtocol, "_build_http_scope", lambda *_: {})
    about = {"sslcontext": object() if tls else None, "socket": SimpleNamespace(fileno=lambda: 9)}
    connection: Any = Connection.__new__(Connection)
    connection.worker = SimpleNamespace(turns=Turns())
    connection.transport = SimpleNamespace(get_extra_info=about.get)
    scope = connection._build_http_scope()
    assert (EXTENSION in scope.get("extensions", {})) is not tls
