# SPDX-License-Identifier: Apache-2.0
"""An upstream that lists images as a Glance does, with the order of any database."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from urllib3.response import HTTPResponse

from imageapi.backends.http_client.urls import Url
from tests.unit.backends.upstream import response


def upstream_record(image_id: str, minute: int, **fields: Any) -> dict[str, Any]:
    """A record that the v1 and the v2 parser both read."""
    time = f"2026-11-20T08:{minute:02}:00Z"
    return {
        "id": image_id,
        "name": None,
        "size": None,
        "disk_format": "raw",
        "container_format": "bare",
        "status": "active",
        "created_at": time,
        "updated_at": time,
        "visibility": "public",
        "is_public": True,
        "owner": "p1",
        **fields,
    }


@dataclass
class ListUpstream:
    """Sorts and pages as Glance does: after an image without a value, a page begins wrongly.

    :ivar nulls_first: whether the database sorts missing values before all others.
    :ivar cap: the largest page.
    :ivar requests: the parameters of each request.
    """

    records: list[dict[str, Any]]
    nulls_first: bool = True
    is_v2: bool = True
    cap: int = 1000
    requests: list[dict[str, str]] = field(default_factory=list)
    urls: list[Url] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    answers: list[HTTPResponse] = field(default_factory=list)

    def request(self, method: str, url: Url, headers: Mapping[str, str]) -> HTTPResponse:
        """Replaces that of `Upstream`."""
        assert method == "GET"
        parameters = dict(parse_qsl(url.query or "", keep_blank_values=True))
        self.requests.append(parameters)
        self.urls.append(url)
        self.headers.append(headers)
        if self.answers:
            return self.answers.pop(0)
        return response(200, json.dumps(self._answer(parameters)).encode())

    def _answer(self, parameters: dict[str, str]) -> dict[str, Any]:
        key = parameters["sort_key"]
        descending = parameters["sort_dir"] == "desc"
        default: Any = 0 if key == "size" else ""

        def place(one: dict[str, Any]) -> tuple[Any, ...]:
            missing = one[key] is None
            group = missing if not self.nulls_first else not missing
            return (group, default if missing else one[key], one["created_at"], one["id"])

        found = sorted(self.records, key=place, reverse=descending)
        if "marker" in parameters:
            begin = next(place(one) for one in found if one["id"] == parameters["marker"])[1:]
            found = [
                one
                for one in found
                if (place(one)[1:] < begin if descending else place(one)[1:] > begin)
            ]
        limit = min(int(parameters["limit"]), self.cap)
        answer: dict[str, Any] = {"images": found[:limit]}
        if self.is_v2 and found and len(found) >= limit:
            answer["next"] = "http://elsewhere/v2/images?marker=wrong"
        return answer
