# SPDX-License-Identifier: Apache-2.0
"""Notifications through a real RabbitMQ, which is lost and comes back."""

import logging
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from imageapi.caller import Caller
from imageapi.errors import BackendUnavailable
from imageapi.events.base import Outcome, RequestEnded
from imageapi.events.notifications import NotificationsEvents
from imageapi.image import Image
from imageapi.testing.suite import build
from tests.functional.rabbitmq import PASSWORD, RabbitMQ, running_rabbitmq
from tests.messages import Messages, join_senders

# RabbitMQ starts twice.
pytestmark = pytest.mark.timeout(600)

TOKEN = "s3cret-token"


@pytest.fixture(scope="module")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    with running_rabbitmq(tmp_path_factory.mktemp("rabbitmq")) as server:
        yield server


@pytest.fixture
def rabbitmq_messages(rabbitmq: RabbitMQ) -> Iterator[Messages]:
    messages = Messages(rabbitmq.url)
    yield messages
    messages.close()


@pytest.fixture
def events(rabbitmq: RabbitMQ) -> Iterator[NotificationsEvents]:
    backend = rabbitmq_driver(rabbitmq)
    yield backend
    backend.close()


def rabbitmq_driver(rabbitmq: RabbitMQ, **options: Any) -> NotificationsEvents:
    usual = {"driver": ["messagingv2"], "transport_url": rabbitmq.url, "publisher_id": "image.x"}
    return build(NotificationsEvents, **usual | options)


def ended_download(sent: int, outcome: Outcome = Outcome.COMPLETE) -> RequestEnded:
    return RequestEnded(
        method="GET",
        path="/v1/images/one",
        image_id="one",
        image=Image(id="one", status="active", owner="acme"),
        caller=Caller(user_id="ann", project_id="buyers", token=TOKEN),
        status=200,
        outcome=outcome,
        sends_data=True,
        sent=sent,
        seconds=0.1,
        remote_address="192.0.2.7",
        request_id="req-1",
    )


def sent_bytes(messages: Messages, number: int) -> list[int]:
    return [messages.next()["payload"]["bytes_sent"] for _ in range(number)]


def test_arrive(
    events: NotificationsEvents, rabbitmq_messages: Messages, rabbitmq: RabbitMQ
) -> None:
    events.request_ended(ended_download(70))
    events.request_ended(ended_download(3, Outcome.LEFT))
    first, second = sorted(
        (rabbitmq_messages.next(), rabbitmq_messages.next()),
        key=lambda one: -one["payload"]["bytes_sent"],
    )
    assert first == {
        "priority": "info",
        "publisher": "image.x",
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
    assert (second["priority"], second["payload"]["bytes_sent"]) == ("error", 3)
    assert events.check() == f"driver messagingv2, broker 127.0.0.1:{rabbitmq.port}"


def test_close_delivers_what_waits(rabbitmq: RabbitMQ, rabbitmq_messages: Messages) -> None:
    backend = rabbitmq_driver(rabbitmq)
    for number in range(100):
        backend.request_ended(ended_download(number))
    backend.close()
    backend.close()
    # The listener hands them to several threads.
    assert sorted(sent_bytes(rabbitmq_messages, 100)) == list(range(100))


def test_parent_and_child_have_connections_of_their_own(
    events: NotificationsEvents, rabbitmq_messages: Messages
) -> None:
    events.request_ended(ended_download(1))
    assert sent_bytes(rabbitmq_messages, 1) == [1]
    child = os.fork()
    if not child:
        for number in range(10, 15):
            events.request_ended(ended_download(number))
        events.close()
        os._exit(0)
    for number in range(20, 25):
        events.request_ended(ended_download(number))
    assert os.waitpid(child, 0)[1] == 0
    assert sorted(sent_bytes(rabbitmq_messages, 10)) == [*range(10, 15), *range(20, 25)]


def test_wrong_password_is_not_shown(
    rabbitmq: RabbitMQ, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imageapi.events.notifications._CLOSE_TIMEOUT", 0.2)
    url = rabbitmq.url.replace(PASSWORD, "wr0ng-password")
    with caplog.at_level(logging.DEBUG):
        backend = rabbitmq_driver(rabbitmq, transport_url=url, retry=0)
        backend.request_ended(ended_download(1))
        deadline = time.monotonic() + 60
        while "Could not send notification" not in caplog.text:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        backend.close()
        join_senders()
    assert "wr0ng-password" not in caplog.text
    assert TOKEN not in caplog.text


def test_broker_is_lost_and_comes_back(
    rabbitmq: RabbitMQ, caplog: pytest.LogCaptureFixture
) -> None:
    """What waits meanwhile is sent later; the last test of the module, for it takes a while."""
    with caplog.at_level(logging.DEBUG):
        events = rabbitmq_driver(rabbitmq, queue_size=10)
        listening = Messages(rabbitmq.url)
        events.request_ended(ended_download(1))
        assert sent_bytes(listening, 1) == [1]
        listening.close()
        rabbitmq.kill()
        with pytest.raises(BackendUnavailable, match="no broker can be reached"):
            events.check()
        before = time.monotonic()
        for number in range(100, 150):
            events.request_ended(ended_download(number))
        assert time.monotonic() - before < 5
        rabbitmq.start()
        listening = Messages(rabbitmq.url)
        arrived = sent_bytes(listening, 10)
        events.close()
        listening.close()
    # The thread may already have taken the first one when the queue was full.
    assert len(set(arrived)) == 10
    assert set(arrived) <= set(range(100, 111))
    assert "notifications dropped: " in caplog.text
    assert PASSWORD not in caplog.text
    assert TOKEN not in caplog.text
