# SPDX-License-Identifier: Apache-2.0
"""Test cases for every events backend, for the tests of a plugin (see `imageapi.testing.suite`).

A subclass of `EventsSuite` defines `make_events`.
"""

import contextlib
import copy
import functools
import itertools
import logging
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from imageapi.caller import ANONYMOUS, Caller
from imageapi.events.base import EventsBackend, Load, Outcome, RequestEnded
from imageapi.image import Image, Location
from imageapi.testing.observed import descriptors
from imageapi.testing.suite import BackendSuite

_ADMIN = Caller(user_id="admin", project_id="admin", roles=("admin", "Member"), is_admin=True)
_STATUSES = (None, 200, 206, 304, 400, 403, 404, 405, 412, 416, 500, 502, 503)
_SECRET = "suite-secret"  # noqa: S105 - made up  # nosec B105
# Texts that a client, an upstream or an embedding application may choose.
_ODD_TEXTS = (
    "",
    " ",
    "\N{SNOWMAN}",
    "'\"\\`$(x);--",
    "%s %(name)s {0} {name}",
    "two\r\nlines\0",
    # A byte that was not UTF-8.
    "\udcff",
    "long" * 5000,
)
# Seconds.  What takes longer than that hangs.
_PATIENCE = 30


class EventsSuite(BackendSuite, mixin=True):
    """The methods that the author defines come first, and the cases below them.

    :cvar quick: in seconds, how long the calls for one request may take; the median counts.
    :ivar events: the backend that `make_events` created for this case.
    """

    quick: float = 0.05

    def make_events(self) -> EventsBackend:
        """Create the backend; called once in each case, before anything else."""
        raise NotImplementedError("define make_events(): it returns the backend under test")

    def make_unreachable(self) -> EventsBackend | None:
        """Create a backend with an unreachable upstream; None if it has no upstream."""
        return None

    # Helpers of the cases.

    def setUp(self) -> None:
        super().setUp()
        self.events = self.backend = self.closed_later(self.make_events())

    def event(self, **fields: Any) -> RequestEnded:
        """Return the event of a complete download by the suite's caller, with other values."""
        usual: dict[str, Any] = {
            "method": "GET",
            "path": "/v1/images/suite",
            "image_id": "suite",
            "image": _image(),
            "caller": self.caller,
            "status": 200,
            "outcome": Outcome.COMPLETE,
            "sends_data": True,
            "sent": 1000,
            "is_verified": True,
            "store": "suite",
            "seconds": 0.25,
            "remote_address": "192.0.2.1",
            "request_id": "req-suite",
        }
        return RequestEnded(**usual | fields)

    def tell(self, event: RequestEnded) -> None:
        """Tell the backend of one request, from its beginning to its end."""
        self.works("request_began()", self.events.request_began)
        about = f"method={event.method!r:.30}, status={event.status}, {event.outcome}"
        self.works(f"request_ended({about}, ...)", lambda: self.events.request_ended(event))

    # The cases.

    def test_every_kind_of_event(self) -> None:
        answers = itertools.product(("GET", "HEAD", "POST"), _STATUSES, Outcome, (False, True))
        for method, status, outcome, sends_data in answers:
            fields = {"method": method, "status": status, "outcome": outcome}
            self.tell(self.event(sends_data=sends_data, **fields))
        for sent, resumed, is_wrong in itertools.product((0, 1, 2**50), (0, 3), (False, True)):
            self.tell(self.event(sent=sent, resumed=resumed, is_wrong=is_wrong))
        for seconds in (0.0, 1e-9, 1e6):
            self.tell(self.event(seconds=seconds))

    def test_nothing_is_known(self) -> None:
        """A request whose client left at once, for a path that names no image."""
        for outcome in Outcome:
            event = RequestEnded(
                method="GET", path="/", status=None, outcome=outcome, seconds=0, request_id="r"
            )
            self.tell(event)
        for name in ("image_id", "image", "status", "store", "remote_address"):
            self.tell(self.event(**{name: None}))

    def test_anonymous_caller(self) -> None:
        self.tell(self.event(caller=ANONYMOUS))
        self.tell(self.event(caller=Caller(token="suite-token")))  # noqa: S106 - made up  # nosec B106

    def test_admin(self) -> None:
        self.tell(self.event(caller=_ADMIN))

    def test_odd_texts(self) -> None:
        for text in _ODD_TEXTS:
            caller = Caller(user_id=text, project_id=text, roles=(text,), token=text)
            self.tell(self.event(method=text, path=text, request_id=text, caller=caller))
            self.tell(self.event(remote_address=text, image_id=text, image=_image(owner=text)))
            self.tell(self.event(query=text, range=text))

    def test_loaded(self) -> None:
        for busy, waiting in ((0, 0), (32, 4000), (0, 1)):
            load = Load(busy=busy, waiting=waiting)
            self.works(f"loaded({load})", functools.partial(self.events.loaded, load))

    def test_leaves_the_event_alone(self) -> None:
        event = self.event()
        before = copy.deepcopy(event)
        self.tell(event)
        self.must(before == event, "request_ended() must not change the event or its image")

    def test_returns_quickly(self) -> None:
        self._is_quick("the backend", self.events)

    def test_upstream_out_of_reach(self) -> None:
        events = self.make_unreachable()
        if events is None:
            return
        self.closed_later(events)
        self._is_quick("a backend with an unreachable upstream", events)
        self._ends("close() with an unreachable upstream", events.close)

    def test_close_leaves_nothing(self) -> None:
        before = descriptors(), threading.active_count()
        for _ in range(3):
            self.tell(self.event())
        self._ends("close() after events", self.events.close)
        self._ends("a second close() after events", self.events.close)
        deadline = time.monotonic() + 5
        # A thread that has ended its work may still be counted for a moment.
        while self._left(before) and time.monotonic() < deadline:
            time.sleep(0.01)
        self.must(not self._left(before), f"close() left {self._left(before)}: end and close them")

    def test_leaves_no_descriptors_open(self) -> None:
        self.leaks_nothing("an event", lambda: self.tell(self.event()))

    def test_ten_threads(self) -> None:
        callers = (ANONYMOUS, self.caller, _ADMIN)

        def tell(number: int) -> None:
            for caller in callers * 10:
                self.tell(self.event(caller=caller, request_id=f"req-{number}", sent=number))

        self.in_threads(tell)

    def test_after_a_fork(self) -> None:
        # A backend that was used in the parent must not be a trouble of the child.
        self.tell(self.event())
        self.in_child(lambda: self.tell(self.event()))

    def test_shows_no_secret(self) -> None:
        unreachable = self.make_unreachable()
        with _logged() as records:
            for events in filter(None, (self.events, unreachable)):
                self.closed_later(events)
                for outcome in Outcome:
                    event = self.event(outcome=outcome, is_wrong=True)
                    self._hides_secrets(functools.partial(events.request_ended, event))
                self._hides_secrets(events.close)
                self.keeps_secrets({"the backend": events}, _SECRET)
        texts = map(logging.Formatter().format, records)
        self.keeps_secrets({"a line in the log": "\n".join(texts)}, _SECRET)

    def _hides_secrets(self, act: Callable[[], None]) -> None:
        """Call this; what it raises would be logged, so it must not show a secret."""
        raised = None
        try:
            act()
        except Exception as error:
            raised = error
        # Only now, or the failure would show the error as its context.
        self.keeps_secrets({"an error": raised}, _SECRET)

    def _left(self, before: tuple[int, int]) -> str:
        """Say what is open beyond the numbers of descriptors and threads before; or nothing."""
        left = descriptors() - before[0], threading.active_count() - before[1]
        return f"{left[0]} descriptors and {left[1]} threads" if max(left) > 0 else ""

    def _is_quick(self, what: str, events: EventsBackend) -> None:
        times: list[float] = []

        def tell() -> None:
            for _ in range(20):
                began = time.monotonic()
                events.request_began()
                events.request_ended(self.event())
                events.loaded(Load(busy=1, waiting=0))
                times.append(time.monotonic() - began)

        self._ends(f"20 events for {what}", tell)
        median = statistics.median(times)
        message = f"{what} takes {median:.3f} s for a request: leave the waiting to a thread"
        self.must(median < self.quick, message)

    def _ends(self, what: str, act: Callable[[], None]) -> None:
        """Call this in a thread; fail if it raises or hangs."""
        problems: list[BaseException] = []

        def run() -> None:
            try:
                self.works(what, act)
            except BaseException as error:
                problems.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(_PATIENCE)
        self.must(not thread.is_alive(), f"{what} hangs: wait for nothing without a timeout")
        if problems:
            raise problems[0]


@contextlib.contextmanager
def _logged() -> Iterator[Sequence[logging.LogRecord]]:
    """Collect all that is logged, in every thread and at every level."""
    records: list[logging.LogRecord] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    handler = Collector()
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield records
    finally:
        root.setLevel(level)
        root.removeHandler(handler)


def _image(owner: str = "suite-project") -> Image:
    """Return a new image with a secret in its location: a wrong backend may change it."""
    return Image(
        id="suite",
        status="active",
        name="Suite",
        size=1000,
        owner=owner,
        locations=(Location(f"http://user:{_SECRET}@host/one?key={_SECRET}"),),
        properties={"list": [1, {"deep": ["x"]}]},
    )
