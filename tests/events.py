# SPDX-License-Identifier: Apache-2.0
"""An events backend that keeps what it is told."""

from imageapi.events.base import EventsBackend, Load, RequestEnded


class Recorder(EventsBackend):
    """Keeps the events.

    :ivar fails: whether each method raises an exception after it has kept its event.
    """

    def __init__(self) -> None:
        self.began = 0
        self.events: list[RequestEnded] = []
        self.loads: list[Load] = []
        self.fails = False

    def request_began(self) -> None:
        self.began += 1
        self._fail()

    def request_ended(self, event: RequestEnded) -> None:
        self.events.append(event)
        self._fail()

    def loaded(self, load: Load) -> None:
        self.loads.append(load)
        self._fail()

    def check(self) -> str:
        return ""

    def _fail(self) -> None:
        if self.fails:
            raise ValueError("a bug of the events backend")

    def only(self) -> RequestEnded:
        """The one event; each request that began has ended."""
        (event,) = self.events
        assert self.began == 1
        return event
