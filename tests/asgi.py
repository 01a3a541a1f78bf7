# SPDX-License-Identifier: Apache-2.0
"""A client of ASGI applications, in process."""

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

from imageapi.asgi.scope import ASGIApplication, Message, Scope


class ASGIAnswer(NamedTuple):
    """What an application sent. Header names keep their case."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str:
        """The one value of a header."""
        (value,) = (value for key, value in self.headers if key == name)
        return value


class ASGIClient:
    """The client of one request: it gives the application ``receive`` and ``send``.

    :ivar sent: the application's messages.
    """

    def __init__(self, *request_body: Message) -> None:
        self.sent: list[Message] = []
        self._to_come = list(request_body)
        self._left = asyncio.Event()

    def leave(self) -> None:
        self._left.set()

    async def receive(self) -> Message:
        if self._to_come:
            return self._to_come.pop(0)
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    def answer(self) -> ASGIAnswer:
        """The answer, if the messages are valid by the ASGI specification."""
        start, *parts = self.sent
        assert start["type"] == "http.response.start"
        assert {part["type"] for part in parts} == {"http.response.body"}
        *more, last = [part["more_body"] for part in parts]
        assert all(more)
        assert not last
        headers = [
            (name.decode("latin-1"), text.decode("latin-1")) for name, text in start["headers"]
        ]
        return ASGIAnswer(start["status"], headers, b"".join(part["body"] for part in parts))


def scope_of(path: Any = "/v1/images/i", method: Any = "GET", **given: Any) -> Scope:
    """A request's scope; ``given`` are other keys of it."""
    headers = [
        (name.encode("latin-1"), value.encode("latin-1"))
        for name, value in given.pop("headers", [])
    ]
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode("utf-8", "replace"),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"h"), *headers],
        "client": ("192.0.2.1", 1),
        "server": ("127.0.0.1", 80),
    }
    scope.update(given)
    return scope


def ask_asgi(application: ASGIApplication, path: Any = "/v1/images/i", **given: Any) -> ASGIAnswer:
    """The answer to a request; ``given`` as for `scope_of`."""

    async def exchange() -> ASGIAnswer:
        client = ASGIClient()
        await asyncio.wait_for(
            application(scope_of(path, **given), client.receive, client.send), 60
        )
        return client.answer()

    return asyncio.run(exchange())
