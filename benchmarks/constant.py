# SPDX-License-Identifier: Apache-2.0
"""Applications that always give the same answer: what imageapi is held against.

``python -m benchmarks.constant PORT`` serves the one for ASGI with gunicorn, run
just as ``imageapi serve`` runs imageapi.  uWSGI calls `application`, for WSGI.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import cast
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from imageapi.asgi import Application
from imageapi.asgi.scope import Receive, Scope, Send
from imageapi.commands.server import Server, settings_for

#: The environment variable that names the file of the answer.
ANSWER = "IMAGEAPI_BENCHMARKS_ANSWER"


def constant(headers: list[tuple[str, str]], body: bytes) -> WSGIApplication:
    """An application that answers all requests with these headers and, but for HEAD, this body."""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    return answer


def write_answer(file: Path, headers: list[tuple[str, str]], body: bytes) -> None:
    """Write what `application` reads."""
    file.write_text(json.dumps({"headers": headers, "body": body.decode("latin-1")}))


def application() -> WSGIApplication:
    """The application with the answer of the file that the environment names."""
    return constant(*_answer())


def _answer() -> tuple[list[tuple[str, str]], bytes]:
    answer = json.loads(Path(os.environ[ANSWER]).read_text())
    headers = [(name, value) for name, value in answer["headers"]]
    return headers, answer["body"].encode("latin-1")


class ConstantASGI:
    """The same answer as an ASGI application, without a thread."""

    def __init__(self) -> None:
        headers, self._body = _answer()
        self._headers = [
            (name.encode("latin-1"), value.encode("latin-1")) for name, value in headers
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            for event in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{event}.complete"})
            return
        body = b"" if scope["method"] == "HEAD" else self._body
        await send({"type": "http.response.start", "status": 200, "headers": self._headers})
        await send({"type": "http.response.body", "body": body})

    def close(self) -> None:
        """It has nothing to close; the server asks for it."""


def _serve(port: str) -> None:
    # The server is typed for the one application that it has; it takes any.
    build = cast(Callable[[], Application], ConstantASGI)
    Server(build, settings_for("127.0.0.1", int(port), 1)).run()


if __name__ == "__main__":
    _serve(*sys.argv[1:])
