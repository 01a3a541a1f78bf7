# SPDX-License-Identifier: Apache-2.0
"""The events driver `notifications`: tells a message broker of each download (docs/metrics.md).

It sends what Glance's API v1 sent: ``image.send``.  So the options of the broker are
those that operators know from Glance: ``[DEFAULT] transport_url`` and the section
``[oslo_messaging_notifications]`` of the given configuration.  oslo.messaging reads its
other options, such as those of TLS, only from sections with fixed names.  An application
that already sends notifications then configures its broker once.  This driver's own
section has only what the broker does not need to know.
"""

import importlib.metadata
import logging
import os
import socket
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from oslo_config import cfg

from imageapi.errors import BackendUnavailable, ConfigurationError
from imageapi.events.base import EventsBackend, Outcome, RequestEnded

with warnings.catch_warnings():
    # It imports oslo.service, which imports eventlet.  An operator can do nothing about the
    # warnings, and eventlet is not used: nobody calls its monkey_patch().
    warnings.simplefilter("ignore")
    import oslo_messaging
    from oslo_messaging import opts as messaging_opts

LOG = logging.getLogger(__name__)

_SECTION = "oslo_messaging_notifications"
_TRANSPORT_URL = f"transport_url of [{_SECTION}], or else of [DEFAULT],"
_PORTS = {"rabbit": 5672, "kombu": 5672, "kafka": 9092}
# The drivers of oslo.messaging that need no broker.
_LOCAL_DRIVERS = frozenset({"log", "noop", "test"})

# Seconds.
_CLOSE_TIMEOUT = 5.0
_CONNECT_TIMEOUT = 5.0
_BETWEEN_WARNINGS = 60.0


class _Notification(NamedTuple):
    """A notification that waits for the broker.

    :ivar priority: the name of the notifier's method.
    """

    priority: str
    payload: Mapping[str, object]


class NotificationsEvents(EventsBackend):
    """Sends ``image.send`` for each response with an image's data, in a thread of its own."""

    @classmethod
    def options(cls) -> Sequence[cfg.Opt]:
        return (
            cfg.StrOpt(
                "publisher_id",
                sample_default="imageapi.HOSTNAME",
                help="The publisher in each notification. If unset, imageapi.HOSTNAME with the"
                " name of the host.",
            ),
            cfg.IntOpt(
                "queue_size",
                default=1000,
                min=1,
                help="How many notifications of a process wait for the broker. While so many"
                " wait, new ones are dropped, and a warning in the log counts them.",
            ),
        )

    @classmethod
    def dependent_options(
        cls,
        conf: cfg.ConfigOpts,  # noqa: ARG003 - oslo.messaging's options are always the same
        group: str,  # noqa: ARG003 - so too
    ) -> Mapping[str, Sequence[cfg.Opt]]:
        return {_SECTION: dict(messaging_opts.list_opts())[_SECTION]}

    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        """Check the options; the thread and the connection are made at the first event.

        :raises ConfigurationError: no broker, or no known driver, is configured.
        """
        self._conf = conf
        self._drivers: Sequence[str] = conf[_SECTION].driver
        self._publisher = conf[group].publisher_id or f"imageapi.{socket.gethostname()}"
        self._size: int = conf[group].queue_size
        _check_drivers(self._drivers)
        try:
            self._url = oslo_messaging.TransportURL.parse(conf, conf[_SECTION].transport_url)
            # Not kept: a connection that was made before a fork cannot be used after it.
            self._make_notifier()
        except (oslo_messaging.MessagingException, cfg.Error, RuntimeError, ValueError) as error:
            # The error's own text may contain the URL, and so a password.
            problem = (
                f"{_TRANSPORT_URL} cannot be used ({type(error).__name__}): it must be such as"
                " rabbit://USER:PASSWORD@HOST:5672/VIRTUAL_HOST, and the library for its scheme"
                " must be installed"
            )
            raise ConfigurationError([problem]) from None
        self._lock = threading.Lock()
        self._sender: _Sender | None = None

    def request_ended(self, event: RequestEnded) -> None:
        if event.sends_data:
            priority = "info" if event.outcome is Outcome.COMPLETE else "error"
            self._of_this_process().put(_Notification(priority, _payload(event)))

    def check(self) -> str:
        """Connect to a host of the broker; the login is only tried when something is sent."""
        drivers = ", ".join(self._drivers)
        port = _PORTS.get(self._url.transport.partition("+")[0])
        if port is None or _LOCAL_DRIVERS.issuperset(self._drivers):
            return f"driver {drivers}"
        hosts = [(host.hostname, host.port or port) for host in self._url.hosts]
        reached = _first_reachable(hosts or [("localhost", port)])
        return f"driver {drivers}, broker {reached}"

    def close(self) -> None:
        """Send what waits, for a few seconds, and log how many notifications are lost."""
        with self._lock:
            sender, self._sender = self._sender, None
        if sender is not None and sender.process == os.getpid():
            sender.close()

    def _of_this_process(self) -> "_Sender":
        with self._lock:
            if self._sender is None or self._sender.process != os.getpid():
                self._sender = _Sender(self._make_notifier, self._size)
            return self._sender

    def _make_notifier(self) -> Any:
        transport = oslo_messaging.get_notification_transport(self._conf)
        notifier = oslo_messaging.Notifier(transport, self._publisher)
        # oslo.messaging passes retry = -1, for ever, to kombu.  kombu takes it as a number, and
        # does not try a second time if the first connection fails.  None means for ever to both.
        return notifier.prepare(retry=None) if notifier.retry < 0 else notifier


class _Sender:
    """Sends the notifications of one process in a thread, one after the other.

    :ivar process: the id of the process whose thread sends.
    """

    def __init__(self, make_notifier: Callable[[], Any], size: int) -> None:
        self.process = os.getpid()
        self._make_notifier = make_notifier
        self._size = size
        # Guards all that follows.
        self._changed = threading.Condition()
        self._waiting: deque[_Notification] = deque()
        self._in_flight = 0
        self._is_closed = False
        self._dropped = 0
        self._next_warning = 0.0
        # The interpreter does not wait for a daemon at its end: a broker must not delay that.
        self._thread = threading.Thread(
            target=self._run, name="imageapi-notifications", daemon=True
        )
        self._thread.start()

    def put(self, notification: _Notification) -> None:
        """Add a notification, or drop it if too many wait."""
        with self._changed:
            if len(self._waiting) < self._size:
                self._waiting.append(notification)
                self._changed.notify()
                return
            self._dropped += 1
        self._warn_of_dropped()

    def close(self) -> None:
        """Wait until all are sent, but not for long."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join(_CLOSE_TIMEOUT)
        with self._changed:
            lost = len(self._waiting) + self._in_flight
            self._waiting.clear()
            self._next_warning = 0.0
        self._warn_of_dropped()
        if lost:
            LOG.warning(
                "notifications lost: %d, because the broker did not accept them within %g s after"
                " the service closed",
                lost,
                _CLOSE_TIMEOUT,
            )

    def _run(self) -> None:
        notifier: Any = None
        while (notification := self._next()) is not None:
            try:
                notifier = notifier or self._make_notifier()
                # It waits as long as [oslo_messaging_notifications] retry says.
                getattr(notifier, notification.priority)({}, "image.send", notification.payload)
            except Exception as error:  # noqa: BLE001 - the thread must go on
                # The error's own text may contain a password.
                LOG.error("a notification was not sent: %s", type(error).__name__)
            self._warn_of_dropped()
        if notifier is not None:
            notifier.transport.cleanup()

    def _next(self) -> _Notification | None:
        """Wait for the next notification; None after the last one."""
        with self._changed:
            self._in_flight = 0
            while not self._waiting and not self._is_closed:
                self._changed.wait()
            if not self._waiting:
                return None
            self._in_flight = 1
            return self._waiting.popleft()

    def _warn_of_dropped(self) -> None:
        """Log how many were dropped since the last warning, at most once a minute."""
        with self._changed:
            now = time.monotonic()
            if not self._dropped or now < self._next_warning:
                return
            dropped, self._dropped = self._dropped, 0
            self._next_warning = now + _BETWEEN_WARNINGS
        LOG.warning(
            "notifications dropped: %d, because %d already waited for the broker: see whether it is"
            " reachable, or raise queue_size",
            dropped,
            self._size,
        )


def _payload(event: RequestEnded) -> Mapping[str, object]:
    """Return the payload that Glance sends."""
    return {
        "bytes_sent": event.sent,
        "image_id": event.image_id,
        "owner_id": event.image.owner if event.image is not None else None,
        "receiver_tenant_id": event.caller.project_id,
        "receiver_user_id": event.caller.user_id,
        "destination_ip": event.remote_address,
    }


def _check_drivers(names: Sequence[str]) -> None:
    """Check the option ``driver``: oslo.messaging would only log that it sends nothing.

    :raises ConfigurationError: it is empty, or names an unknown driver.
    """
    known = sorted(importlib.metadata.entry_points(group="oslo.messaging.notify.drivers").names)
    wrong = [name for name in names if name not in known]
    if wrong or not names:
        cause = f"must not be {wrong[0]!r}" if wrong else "is not set"
        instead = f"set it to messagingv2, or to another of {', '.join(known)}"
        raise ConfigurationError([f"driver of [{_SECTION}] {cause}: {instead}"])


def _first_reachable(hosts: Sequence[tuple[str, int]]) -> str:
    """Return the first host and port to which a connection can be made.

    :raises BackendUnavailable: there is none.
    """
    problems = []
    for host, port in hosts:
        try:
            with socket.create_connection((host, port), _CONNECT_TIMEOUT):
                return f"{host}:{port}"
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            problems.append(f"{host}:{port}: {reason or type(error).__name__}")
    raise BackendUnavailable(f"no broker can be reached: {'; '.join(problems)}")
