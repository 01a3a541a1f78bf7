# SPDX-License-Identifier: Apache-2.0
"""A Swift in memory with a container of records and its listing."""

import json
import threading
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qs

from urllib3.response import HTTPResponse

from tests.unit.backends.swift.fake_swift import FakeSwift, md5_text
from tests.unit.backends.upstream import response


class ListedSwift(FakeSwift):
    """Has a container ``records`` with a listing, two objects a page.

    :ivar listed: hashes that the listing has in place of those of the objects, by name.
    :ivar headers: further headers of objects, by path.
    :ivar old: copies of objects that a request gets if it does not ask for the newest.
    """

    def __init__(self) -> None:
        super().__init__()
        self.listed: dict[str, str | None] = {}
        self.headers: dict[str, dict[str, str]] = {}
        self.old: dict[str, bytes] = {}
        self.lock = threading.Lock()

    def put(self, image_id: str, name: str, **fields: Any) -> bytes:
        """Put the record of a public image, and return its bytes."""
        fields = {"status": "active", "is_public": True, "name": name, **fields}
        data = self.objects[f"/records/a/{image_id}.json"] = json.dumps(fields).encode()
        return data

    def remove(self, image_id: str) -> None:
        del self.objects[f"/records/a/{image_id}.json"]

    def request(self, *arguments: Any, **named: Any) -> Any:
        with self.lock:
            return super().request(*arguments, **named)

    def reads(self) -> list[str]:
        """The objects that were read since the last call, and how."""
        kinds = {(): "any", ("X-Newest",): "newest", ("If-None-Match", "X-Newest"): "known"}
        read = [
            f"{line.removeprefix('GET /records/a/').removesuffix('.json')} {kinds[how]}"
            for line, headers in self.requests
            if line != "GET /records"
            for how in [tuple(sorted(headers))]
        ]
        self.requests.clear()
        return sorted(read)

    def _answer(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes] | None,
        query: str,
    ) -> HTTPResponse:
        if path == "/records":
            (marker,) = parse_qs(query).get("marker", [""])
            names = sorted(path.removeprefix("/records/") for path in self.objects)
            page = [name for name in names if name > marker][:2]
            return response(200, json.dumps([self._entry(name) for name in page]).encode())
        data = self.objects.get(path)
        if data is None:
            return response(404)
        if "X-Newest" not in headers:
            data = self.old.get(path, data)
        more = {"ETag": md5_text(data), **self.headers.get(path, {})}
        if headers.get("If-None-Match") == more["ETag"]:
            return response(304, b"", **more)
        return response(200, data, **more)

    def _entry(self, name: str) -> dict[str, str | None]:
        return {
            "name": name,
            "hash": self.listed.get(name, md5_text(self.objects[f"/records/{name}"])),
        }
