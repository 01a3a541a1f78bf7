# SPDX-License-Identifier: Apache-2.0
"""An S3 store whose requests get the responses of a test."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from urllib3.response import HTTPResponse

from imageapi.backends.http_client import retries
from imageapi.backends.http_client.client import NotReached
from imageapi.backends.http_client.urls import Url
from imageapi.backends.s3.store import S3Store
from imageapi.testing.suite import build
from tests.unit.backends.upstream import response


class Sent(NamedTuple):
    """A request that was sent."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


class AnsweredS3:
    """A store that connects to nothing, and never sleeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
        defaults = {"bucket": "images", "access_key": "key", "secret_key": "s3cret"}
        self.store = build(S3Store, **{**defaults, "endpoint_url": "http://s3", **options})
        self.client = self.store.client
        self.answers: list[HTTPResponse | NotReached] = []
        self.sent: list[Sent] = []
        self.slept: list[float] = []
        monkeypatch.setattr(retries, "time", SimpleNamespace(sleep=self.slept.append))
        monkeypatch.setattr(self.client._upstream, "request", self._request)

    def _request(self, method: str, url: Url, headers: Any, body: Any = None) -> HTTPResponse:
        self.sent.append(Sent(method, str(url), headers, b"".join(body or ())))
        answer = self.answers.pop(0)
        if isinstance(answer, NotReached):
            raise answer
        return answer


def s3_error(status: int, code: str, more: str = "", **headers: Any) -> HTTPResponse:
    """An error as S3 sends it."""
    body = f"<?xml version='1.0'?>\n<Error><Code>{code}</Code><Message>told</Message>{more}</Error>"
    return response(status, body.encode(), **headers)
