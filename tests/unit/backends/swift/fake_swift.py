# SPDX-License-Identifier: Apache-2.0
"""A Swift in memory, in place of `SwiftAccount.request`."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping

from urllib3.response import HTTPResponse

from imageapi.backends.http_client.urls import Url
from tests.unit.backends.upstream import response

#: Options of a store or registry that connects to nothing.
NOWHERE = {"auth_type": "none", "endpoint_override": "http://127.0.0.1:1/v1/AUTH_a"}


def md5_text(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


class FakeSwift:
    """Objects by path; every container exists.

    :ivar answers: responses in place of its own, by method and path.
    :ivar before: what happens once before a request, by the beginning of its method and path.
    """

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.requests: list[tuple[str, Mapping[str, str]]] = []
        self.answers: dict[tuple[str, str], HTTPResponse] = {}
        self.before: dict[str, Callable[[], object]] = {}

    def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes] | None = None,
        query: str = "",
    ) -> tuple[HTTPResponse, Url]:
        line = f"{method} {path}"
        self.requests.append((line, headers))
        for beginning in [one for one in self.before if line.startswith(one)]:
            self.before.pop(beginning)()
        answer = self.answers.get((method, path)) or self._answer(
            method, path, headers, body, query
        )
        return answer, Url.parse(f"http://swift/v1/AUTH_a{path}")

    def _answer(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes] | None,
        query: str,
    ) -> HTTPResponse:
        if path.count("/") == 1:
            return response(204)
        if method == "PUT":
            if headers.get("If-None-Match") == "*" and path in self.objects:
                return response(412)
            data = self.objects[path] = b"".join(body or ())  # type: ignore[arg-type]  # never bytes
            etags = "".join(one["etag"] for one in json.loads(data)) if query else ""
            return response(201, ETag=f'"{md5_text(etags.encode())}"' if query else md5_text(data))
        if path not in self.objects:
            return response(404)
        if method == "DELETE":
            del self.objects[path]
            return response(204)
        return response(200, self.objects[path] if method == "GET" else b"")
