# SPDX-License-Identifier: Apache-2.0
"""Listens for notifications, as a consumer of them does."""

import queue
import threading
from typing import Any

from oslo_config import cfg

from imageapi.events import notifications

# The driver silences the warnings that the import gives.
oslo_messaging: Any = vars(notifications)["oslo_messaging"]


class Messages:
    """What arrives at a broker, by oslo.messaging's own listener."""

    def __init__(self, url: str) -> None:
        self._arrived: queue.Queue[dict[str, Any]] = queue.Queue()
        conf = cfg.ConfigOpts()
        conf([], default_config_files=[], default_config_dirs=[])
        transport = oslo_messaging.get_notification_transport(conf, url)
        targets = [oslo_messaging.Target(topic="notifications")]
        self.listener = oslo_messaging.get_notification_listener(
            transport, targets, [self], executor="threading"
        )
        self.listener.start()

    def info(self, *arguments: Any) -> None:
        self._note("info", *arguments)

    def error(self, *arguments: Any) -> None:
        self._note("error", *arguments)

    def _note(self, priority: str, _context: Any, publisher: Any, kind: Any, *rest: Any) -> None:
        self._arrived.put(
            {"priority": priority, "publisher": publisher, "type": kind, "payload": rest[0]}
        )

    def next(self) -> dict[str, Any]:
        return self._arrived.get(timeout=60)

    def close(self) -> None:
        self.listener.stop()
        self.listener.wait()


def join_senders() -> None:
    """Wait for threads that were closed in the middle of an attempt, or they would log later."""
    for thread in threading.enumerate():
        if thread.name == "imageapi-notifications":
            thread.join(60)
