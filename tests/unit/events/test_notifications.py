# SPDX-License-Identifier: Apache-2.0
import logging
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from imageapi.caller import Caller
from imageapi.errors import BackendUnavailable, ConfigurationError
from imageapi.events import notifications
from imageapi.events.base import Outcome, RequestEnded
from imageapi.events.notifications import NotificationsEvents
from imageapi.image import Image, Location
from imageapi.testing.suite import build
from tests.functional.servers import free_port
from tests.messages import Messages, join_senders

IMAGE = Image(
    id="one", status="active", owner="acme", locations=(Location("http://ann:hunter2@x/y"),)
)
CALLER = Caller(user_id="ann", project_id="buyers", token="s3cret-token")


def ended_request(**fields: Any) -> RequestEnded:
    usual: dict[str, Any] = {"method": "GET", "path": "/v1/images/one", "status": 200}
    usual |= {"outcome": Outcome.COMPLETE, "seconds": 0.05, "request_id": "req-1", "sent": 70}
    usual |= {"image_id": "one", "image": IMAGE, "caller": CALLER, "sends_data": True}
    return RequestEnded(**usual | {"remote_address": "192.0.2.7"} | fields)


def notifications_driver(**options: Any) -> NotificationsEvents:
    return build(
        NotificationsEvents, **{"driver": ["messagingv2"], "transport_url": "fake:/"} | options
    )


@pytest.fixture
def fake_messages() -> Iterator[Messages]:
    messages = Messages("fake:/")
    yield messages
    messages.close()


@pytest.fixture
def make_driver() -> Iterator[Callable[..., NotificationsEvents]]:
    """`driver`, closed at the end."""
    made = []

    def one(**options: Any) -> NotificationsEvents:
        made.append(notifications_driver(**options))
        return made[-1]

    yield one
    for backend in made:
        backend.close()


Make = Callable[..., NotificationsEvents]


def test_complete_download(make_driver: Make, fake_messages: Messages) -> None:
    make_driver().request_ended(ended_request())
    assert fake_messages.next() == {
        "priority": "info",
        "publisher": f"imageapi.{socket.gethostname()}",
        "type": "image.send",
        "payload": {
            "bytes_sent": 70,
            "image_id": "one",
            "owner_id": "acme",
            "receiver_tenant_id": "buyers",
            "receiver_user_id": "ann",
            "destination_ip": "192.0.2.7",
        },
    }


@pytest.mark.parametrize("outcome", [Outcome.LEFT, Outcome.BROKEN_OFF])
def test_incomplete_download_is_an_error(
    make_driver: Make, fake_messages: Messages, outcome: Outcome
) -> None:
    make_driver(publisher_id="image.one").request_ended(ended_request(outcome=outcome, sent=3))
    message = fake_messages.next()
    assert (message["priority"], message["publisher"]) == ("error", "image.one")
    assert message["payload"]["bytes_sent"] == 3


def test_only_responses_with_data(make_driver: Make, fake_messages: Messages) -> None:
    events = make_driver()
    events.request_ended(ended_request(sends_data=False))
    events.request_ended(ended_request(sends_data=False, status=404, image=None, image_id=None))
    assert events._sender is None, "a thread was started for nothing"
    events.request_ended(ended_request(sent=5))
    assert fake_messages.next()["payload"]["bytes_sent"] == 5


def test_nothing_is_known(make_driver: Make, fake_messages: Messages) -> None:
    event = RequestEnded(
        method="GET",
        path="/",
        status=None,
        outcome=Outcome.LEFT,
        sends_data=True,
        seconds=0,
        request_id="r",
    )
    make_driver().request_ended(event)
    payload = fake_messages.next()["payload"]
    assert payload.pop("bytes_sent") == 0
    assert set(payload.values()) == {None}


def test_order_is_kept() -> None:
    events = notifications_driver()
    sent = Held()
    sent.go.set()
    events._make_notifier = lambda: sent  # type: ignore[method-assign]  # a fake in its place
    for number in range(50):
        events.request_ended(ended_request(sent=number))
    events.close()
    assert [payload["bytes_sent"] for payload in sent.payloads] == list(range(50))


def test_close_sends_what_waits(fake_messages: Messages) -> None:
    # The fake broker forgets everything when a transport is cleaned up.
    events = notifications_driver()
    sent = Held()
    events._make_notifier = lambda: sent  # type: ignore[method-assign]  # a fake in its place
    for _ in range(3):
        events.request_ended(ended_request())
    threading.Timer(0.2, sent.go.set).start()
    events.close()
    assert len(sent.payloads) == 3
    assert sent.is_cleaned


class Held:
    """A notifier whose broker takes nothing until `go` is set."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.payloads: list[Any] = []
        self.is_cleaned = False
        self.transport = self

    def info(self, _context: Any, _kind: str, payload: Any) -> None:
        self.go.wait(60)
        self.payloads.append(payload)

    def cleanup(self) -> None:
        self.is_cleaned = True


@pytest.fixture
def held(make_driver: Make) -> Iterator[tuple[NotificationsEvents, Held]]:
    notifier = Held()
    events = make_driver(queue_size=3)
    events._make_notifier = lambda: notifier  # type: ignore[method-assign]  # a fake in its place
    yield events, notifier
    notifier.go.set()


def fill(events: NotificationsEvents, number: int) -> None:
    """Have this many wait, and one with the broker."""
    events.request_ended(ended_request(sent=0))
    sender = events._sender
    assert sender is not None
    while sender._waiting:
        time.sleep(0.001)
    for _ in range(number):
        events.request_ended(ended_request())


def test_full_queue_drops_and_says_so_once_a_minute(
    held: tuple[NotificationsEvents, Held],
    caplog: pytest.LogCaptureFixture,
) -> None:
    events, notifier = held
    fill(events, 3)
    assert not caplog.records
    for _ in range(5):
        events.request_ended(ended_request())
    (message,) = caplog.messages
    assert message == (
        "notifications dropped: 1, because 3 already waited for the broker: see whether it is"
        " reachable, or raise queue_size"
    )
    # A minute passes.
    sender = events._sender
    assert sender is not None
    sender._next_warning -= 60
    events.request_ended(ended_request())
    assert caplog.records[1].getMessage().startswith("notifications dropped: 5")
    notifier.go.set()
    events.close()
    assert len(notifier.payloads) == 4


def test_rest_of_the_dropped_is_told_at_the_end(
    held: tuple[NotificationsEvents, Held], caplog: pytest.LogCaptureFixture
) -> None:
    events, notifier = held
    fill(events, 3)
    for _ in range(4):
        events.request_ended(ended_request())
    notifier.go.set()
    events.close()
    texts = [record.getMessage().partition(",")[0] for record in caplog.records]
    assert texts == ["notifications dropped: 1", "notifications dropped: 3"]


def test_close_does_not_wait_for_ever(
    held: tuple[NotificationsEvents, Held],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events, _ = held
    monkeypatch.setattr(notifications, "_CLOSE_TIMEOUT", 0.2)
    fill(events, 2)
    events.close()
    events.close()
    (message,) = caplog.messages
    assert message == (
        "notifications lost: 3, because the broker did not accept them within 0.2 s after the"
        " service closed"
    )


def test_notifier_that_fails_is_no_end(make_driver: Make, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Held):
        def info(self, _context: Any, _kind: str, payload: Any) -> None:
            if not self.payloads:
                self.payloads.append("failed")
                raise ValueError("rabbit://ann:hunter2@broker")
            self.payloads.append(payload)

    notifier = Failing()
    events = make_driver()
    events._make_notifier = lambda: notifier  # type: ignore[method-assign]  # a fake in its place
    events.request_ended(ended_request())
    events.request_ended(ended_request())
    events.close()
    assert len(notifier.payloads) == 2
    assert caplog.messages == ["a notification was not sent: ValueError"]


def test_works_again_after_close(make_driver: Make, fake_messages: Messages) -> None:
    events = make_driver()
    events.request_ended(ended_request(sent=1))
    assert fake_messages.next()["payload"]["bytes_sent"] == 1
    events.close()
    events.request_ended(ended_request(sent=2))
    events.close()


def test_unreachable_broker_holds_nobody(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """oslo.messaging waits between attempts; requests and the end of the service do not."""
    monkeypatch.setattr(notifications, "_CLOSE_TIMEOUT", 0.5)
    url = f"rabbit://ann:hunter2@127.0.0.1:{free_port()}/"
    with caplog.at_level(logging.DEBUG):
        events = notifications_driver(transport_url=url, queue_size=10, retry=1)
        before = time.monotonic()
        for _ in range(100):
            events.request_ended(ended_request())
        assert time.monotonic() - before < 5
        # Until it waits for the next attempt.
        while "retrying in" not in caplog.text:
            time.sleep(0.01)
        events.close()
        join_senders()
    texts = "\n".join(caplog.messages)
    numbers = re.findall(r"^notifications (?:dropped|lost): (\d+)", texts, re.MULTILINE)
    assert sum(map(int, numbers)) == 100
    assert "hunter2" not in caplog.text
    assert "s3cret-token" not in caplog.text


@pytest.mark.parametrize(("retry", "passed"), [(-1, None), (0, 0), (3, 3)])
def test_without_limit_is_none_for_kombu(retry: int, passed: int | None) -> None:
    """kombu would take -1 as a number that the first attempt reaches."""
    assert notifications_driver(retry=retry)._make_notifier().retry == passed


def test_constructor_makes_no_thread() -> None:
    before = threading.active_count()
    notifications_driver()
    assert threading.active_count() == before


def test_child_does_not_send_what_its_parent_has(held: tuple[NotificationsEvents, Held]) -> None:
    events, notifier = held
    fill(events, 2)
    child = os.fork()
    if not child:
        # What waits in the parent is not the child's to send, nor to wait for.
        started = time.monotonic()
        events.close()
        os._exit(int(time.monotonic() - started > 3))
    assert os.waitpid(child, 0)[1] == 0
    notifier.go.set()
    events.close()
    assert len(notifier.payloads) == 3


def test_child_sends_its_own(held: tuple[NotificationsEvents, Held]) -> None:
    events, _ = held
    fill(events, 2)
    child = os.fork()
    if not child:
        own = Held()
        own.go.set()
        events._make_notifier = lambda: own  # type: ignore[method-assign]  # a fake in its place
        events.request_ended(ended_request(sent=9))
        events.close()
        os._exit(int([payload["bytes_sent"] for payload in own.payloads] != [9]))
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize(
    "url",
    [
        "hunter2",
        "rabbit://ann:hunter2@broker:port/",
        "hare://ann:hunter2@broker/",
        "://ann:hunter2@broker/",
    ],
)
def test_url_that_cannot_be_used(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^transport_url of .* cannot be used") as caught:
        notifications_driver(transport_url=url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("drivers", "hint"),
    [
        ([], "driver of [oslo_messaging_notifications] is not set: set it to messagingv2"),
        (["mesagingv2"], "must not be 'mesagingv2': set it to messagingv2"),
        (["messagingv2", "x"], "must not be 'x'"),
    ],
)
def test_driver_that_would_send_nothing(drivers: list[str], hint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        notifications_driver(driver=drivers)
    assert hint in str(caught.value)


def test_check_connects() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        events = notifications_driver(transport_url=f"rabbit://ann:hunter2@127.0.0.1:{port}/")
        assert events.check() == f"driver messagingv2, broker 127.0.0.1:{port}"


def test_check_with_an_unreachable_broker() -> None:
    port = free_port()
    events = notifications_driver(transport_url=f"rabbit://ann:hunter2@127.0.0.1:{port}/")
    with pytest.raises(BackendUnavailable) as caught:
        events.check()
    assert str(caught.value) == f"no broker can be reached: 127.0.0.1:{port}: Connection refused"


def test_check_without_a_broker() -> None:
    assert notifications_driver().check() == "driver messagingv2"
    assert notifications_driver(driver=["log"], transport_url="rabbit://").check() == "driver log"
