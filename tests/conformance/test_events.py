# SPDX-License-Identifier: Apache-2.0
"""The shipped events backends do what every one must."""

import testtools

from imageapi.events import notifications
from imageapi.events.notifications import NotificationsEvents
from imageapi.events.prometheus import PrometheusEvents
from imageapi.testing.events_suite import EventsSuite
from imageapi.testing.suite import build
from tests.functional.servers import free_port
from tests.messages import join_senders


class TestPrometheusEvents(EventsSuite, testtools.TestCase):
    def make_events(self) -> PrometheusEvents:
        return build(PrometheusEvents)


class TestNotificationsEvents(EventsSuite, testtools.TestCase):
    secrets = ("hunter2",)

    def setUp(self) -> None:
        super().setUp()
        # Nothing is to arrive at an unreachable broker, so nothing is waited for.
        self.patch(notifications, "_CLOSE_TIMEOUT", 0.5)

    def make_events(self) -> NotificationsEvents:
        return build(NotificationsEvents, driver=["messagingv2"], transport_url="fake:/")

    def make_unreachable(self) -> NotificationsEvents:
        url = f"rabbit://ann:hunter2@127.0.0.1:{free_port()}/"
        self.addCleanup(join_senders)
        return build(
            NotificationsEvents, driver=["messagingv2"], transport_url=url, queue_size=5, retry=1
        )
