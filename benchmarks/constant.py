# SPDX-License-Identifier: Apache-2.0
"""A WSGI application that always gives the same answer: what imageapi is held against.

``python -m benchmarks.constant PORT THREADS`` serves it with gunicorn, run
just as imageapi runs it.  uWSGI calls `application` itself.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import cast
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from imageapi import ImageAPI
from imageapi.serve import Server, settings_for

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
    answer = json.loads(Path(os.environ[ANSWER]).read_text())
    headers = [(name, value) for name, value in answer["headers"]]
    return constant(headers, answer["body"].encode("latin-1"))


def _serve(port: str, threads: str) -> None:
    # The server is typed for the one application that it has; it takes any.
    build = cast(Callable[[], ImageAPI], application)
    Server(build, settings_for("127.0.0.1", int(port), 1, int(threads))).run()


if __name__ == "__main__":
    _serve(*sys.argv[1:])
