# SPDX-License-Identifier: Apache-2.0
"""Events backends that each do one thing wrong, for `test_events_suite_catches`."""

import logging
import os
import threading
import time

from oslo_config import cfg

from imageapi.errors import BackendUnavailable
from imageapi.events.base import EventsBackend, Load, Outcome, RequestEnded

LOG = logging.getLogger(__name__)

# What makes a thread lose its turn just where that does harm.
_A_MOMENT = 0.001


class Right(EventsBackend):
    """Right, and the base of what is not."""

    reachable = True

    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        self._process = os.getpid()

    def request_ended(self, event: RequestEnded) -> None:
        pass

    def check(self) -> str:
        if not self.reachable:
            raise BackendUnavailable("nobody there")
        return ""


class KnowsFewStatuses(Right):
    def request_ended(self, event: RequestEnded) -> None:
        {None: 0, 200: 1, 206: 1, 404: 4, 500: 5}[event.status]


class WantsStatus(Right):
    def request_ended(self, event: RequestEnded) -> None:
        event.status // 100  # type: ignore[operator]  # the fault


class DividesByTime(Right):
    def request_ended(self, event: RequestEnded) -> None:
        event.sent / event.seconds


class RaisesForTheIncomplete(Right):
    def request_ended(self, event: RequestEnded) -> None:
        if event.outcome is Outcome.BROKEN_OFF:
            raise BackendUnavailable("a download was broken off")


class WantsImage(Right):
    def request_ended(self, event: RequestEnded) -> None:
        event.image.owner  # type: ignore[union-attr]  # noqa: B018 - the fault


class WantsRemoteAddress(Right):
    def request_ended(self, event: RequestEnded) -> None:
        if event.image_id:
            event.remote_address.split(".")  # type: ignore[union-attr]  # the fault


class EventsWantUser(Right):
    def request_ended(self, event: RequestEnded) -> None:
        if event.image:
            event.caller.user_id.lower()  # type: ignore[union-attr]  # the fault


class WantsNoAdmin(Right):
    def request_ended(self, event: RequestEnded) -> None:
        if event.caller.is_admin:
            raise PermissionError("an admin")


class EncodesStrictly(Right):
    def request_ended(self, event: RequestEnded) -> None:
        (event.caller.user_id or "").encode()


class FormatsTwice(Right):
    def request_ended(self, event: RequestEnded) -> None:
        f"{event.path} {{}}".format(event.sent)


class DividesByThreads(Right):
    def loaded(self, load: Load) -> None:
        load.waiting / load.busy


class ChangesProperties(Right):
    def request_ended(self, event: RequestEnded) -> None:
        if event.image:
            event.image.properties.setdefault("seen", True)  # type: ignore[attr-defined]  # on purpose


class Waits(Right):
    def request_ended(self, event: RequestEnded) -> None:
        time.sleep(0.1)


class WaitsWhenUnreachable(Right):
    def request_ended(self, event: RequestEnded) -> None:
        if not self.reachable:
            time.sleep(0.1)


class RaisesWhenUnreachable(Right):
    def request_ended(self, event: RequestEnded) -> None:
        self.check()


class LeavesThread(Right):
    _thread: threading.Thread | None = None

    def request_ended(self, event: RequestEnded) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=time.sleep, args=(7,), daemon=True)
            self._thread.start()


class ClosesUsedOnce(Right):
    used = 0

    def request_ended(self, event: RequestEnded) -> None:
        self.used += 1

    def close(self) -> None:
        if self.used < 0:
            raise ValueError("closed already")
        self.used = -self.used


class Leaks(Right):
    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        super().__init__(conf, group)
        self._kept: list[int] = []

    def request_ended(self, event: RequestEnded) -> None:
        self._kept.append(os.open("/dev/null", os.O_RDONLY))

    def close(self) -> None:
        while self._kept:
            os.close(self._kept.pop())


class SharesEvent(Right):
    def request_ended(self, event: RequestEnded) -> None:
        self.current = event
        time.sleep(_A_MOMENT)
        if self.current is not event:
            raise RuntimeError("the event of another thread")


class EventsFailAfterFork(Right):
    def request_ended(self, event: RequestEnded) -> None:
        if os.getpid() != self._process:
            raise BackendUnavailable("a socket that somebody else writes to")


class EventsDieAfterFork(Right):
    def request_ended(self, event: RequestEnded) -> None:
        if os.getpid() != self._process:
            os._exit(3)


class LogsToken(Right):
    def request_ended(self, event: RequestEnded) -> None:
        LOG.debug("a request with %s", event.caller.token)


class LogsLocations(Right):
    def request_ended(self, event: RequestEnded) -> None:
        if event.image:
            LOG.info("sent: %s", [location.url for location in event.image.locations])


class RaisesLocations(Right):
    def request_ended(self, event: RequestEnded) -> None:
        if event.image and event.is_wrong:
            raise BackendUnavailable(f"wrong: {event.image.locations[0].url}")


class EventsRememberToken(Right):
    last = ""

    def request_ended(self, event: RequestEnded) -> None:
        self.last = event.caller.token or ""

    def __repr__(self) -> str:
        return f"<events, last of {self.last}>"
