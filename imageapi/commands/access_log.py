# SPDX-License-Identifier: Apache-2.0
"""A line for each request that ``serve`` has answered."""

from imageapi.commands.logs import ACCESS
from imageapi.events.base import EventsBackend, RequestEnded


class AccessLog(EventsBackend):
    """Logs each request when its response has ended."""

    def __init__(self) -> None:
        """Log to the logger `logs.ACCESS`, which `logs.configure` sets up."""

    def request_ended(self, event: RequestEnded) -> None:
        ACCESS.info("", extra={"event": event})

    def check(self) -> str:
        return ""
