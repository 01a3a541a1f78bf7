# SPDX-License-Identifier: Apache-2.0
"""Applications that always give the same answer: what imageapi is held against.

``python -m benchmarks.constant PORT`` serves the one for ASGI with gunicorn, run
just as ``imageapi serve`` runs imageapi.  uWSGI calls `application`, for WSGI.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from oslo_config import cfg

from imageapi.asgi.scope import Receive, Scope, Send
from imageapi.commands.serve_settings import ServeSettings
from imageapi.commands.server import Server

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
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[], default_config_dirs=[])
    flags = argparse.Namespace(bind=[f"127.0.0.1:{port}"], access_log="")
    Server(ConstantASGI(), ConstantASGI, ServeSettings.of(conf, flags)).run()


if __name__ == "__main__":
    _serve(*sys.argv[1:])
