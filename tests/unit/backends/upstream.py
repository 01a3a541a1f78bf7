# SPDX-License-Identifier: Apache-2.0
"""Responses of an upstream, made without one."""

import io
from dataclasses import dataclass
from typing import Any

from urllib3.response import HTTPResponse


@dataclass
class Time:
    """The time of all `RecordCache`s, in seconds."""

    now: float = 1000.0


def response(status: int = 200, body: bytes = b"", **headers: Any) -> HTTPResponse:
    """A response whose body is unread; header names are written with underscores."""
    return HTTPResponse(
        io.BytesIO(body),
        headers={name.replace("_", "-"): str(value) for name, value in headers.items()},
        status=status,
        preload_content=False,
        decode_content=False,
        request_method="GET",
    )
