# SPDX-License-Identifier: Apache-2.0
"""The events driver `prometheus`: counts requests for Prometheus (docs/metrics.md).

The metrics of all processes of a service are added up by prometheus_client's
multiprocess mode: each process counts in files of a common folder.  The environment
variable PROMETHEUS_MULTIPROC_DIR names this folder.  prometheus_client looks for the
variable once, when it is imported.  So whoever owns the process sets the variable
before this module is imported: ``imageapi serve``, or the application.  This module
only reads it.
"""

import glob
import os
import threading
from typing import NamedTuple
from weakref import WeakValueDictionary

from oslo_config import cfg
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from imageapi.errors import BackendUnavailable, ConfigurationError
from imageapi.events.base import EventsBackend, Load, Outcome, RequestEnded

_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

# How the processes get new files.
_BEGIN_AGAIN = "reload imageapi serve (SIGHUP), or restart the service; the counts then begin at 0"

# A client may send any text as the method: each new label value would take memory for ever.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})

# In seconds.  Small responses take milliseconds, downloads minutes.
_BUCKETS = (0.01, 0.1, 1, 10, 60, 600, 3600)


class Exposition(NamedTuple):
    """The response to a request for ``/metrics``.

    :ivar content_type: the value of the header Content-Type.
    :ivar body: the metrics as text.
    """

    content_type: str
    body: bytes


def exposition(accept: str = "") -> Exposition:
    """Return all metrics: of all processes in multiprocess mode, else of this process.

    In multiprocess mode, the metrics of other code that counts in the same folder are
    included.  Otherwise only those of imageapi are.

    :param accept: the request's header Accept; it selects one of Prometheus' formats.
    :raises imageapi.errors.BackendUnavailable: the folder of multiprocess mode cannot be read.
    """
    encode, content_type = choose_encoder(accept)
    collector: Collector
    if _is_multiprocess():
        _check_folder()
        collector = MultiProcessCollector(None)  # type: ignore[no-untyped-call]  # not typed
    else:
        collector = _metrics_of_process().registry
    return Exposition(content_type, encode(collector))


def forget_process(pid: int) -> None:
    """Remove the gauges of a process that has ended; its counters stay in the sums.

    The parent process calls it when a worker has ended.  Without multiprocess mode it does
    nothing.
    """
    if _is_multiprocess() and os.environ.get(_VARIABLE):
        mark_process_dead(pid)  # type: ignore[no-untyped-call]  # the library is not typed


class PrometheusEvents(EventsBackend):
    """Counts requests, bytes and failures.  No label names an image or a project."""

    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        """Check the mode; the metrics are made at the first use, as they may be files.

        :raises ConfigurationError: PROMETHEUS_MULTIPROC_DIR was changed too late.
        """
        if _is_multiprocess() != bool(os.environ.get(_VARIABLE)):
            problem = (
                f"the environment variable {_VARIABLE} must name a folder before"
                " prometheus_client is imported, and must not change afterwards: set it before"
                " the service starts, or not at all"
            )
            raise ConfigurationError([problem])
        self._metrics: _Metrics | None = None

    def check(self) -> str:
        if not _is_multiprocess():
            return f"each process counts alone ({_VARIABLE} is not set)"
        _check_folder()
        return f"all processes count in {os.environ[_VARIABLE]}"

    def request_began(self) -> None:
        self._of_this_process().running.inc()

    def request_ended(self, event: RequestEnded) -> None:
        self._of_this_process().count(event)

    def loaded(self, load: Load) -> None:
        metrics = self._of_this_process()
        metrics.busy.set(load.busy)
        metrics.waiting.set(load.waiting)

    def _of_this_process(self) -> "_Metrics":
        metrics = self._metrics
        if metrics is None or metrics.process != os.getpid():
            metrics = self._metrics = _metrics_of_process()
        return metrics


class _Metrics:
    """The metrics of one process, in a registry of their own.

    :ivar process: the id of the process that they belong to.
    """

    def __init__(self) -> None:
        self.process = os.getpid()
        self.registry = registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"imageapi_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str) -> Gauge:
            # "livesum" adds the processes that were not forgotten.
            name = f"imageapi_{name}"
            made = Gauge(name, text, registry=registry, multiprocess_mode="livesum")
            # A file may be left from an earlier process with the same id.
            made.set(0)
            return made

        self._requests = counter("requests", "Requests that ended.", "method", "status")
        self._bytes = counter("sent_bytes", "Bytes of response bodies that the server got.")
        self._broken_off = counter("broken_off", "Responses broken off: the data was not complete.")
        self._left = counter("client_left", "Responses whose client left before the end.")
        self._wrong = counter("checksum_failures", "Responses that found data with a wrong hash.")
        self._resumes = counter("resumes", "Times that data was opened again.", "store")
        self._cache = counter("cache_downloads", "Downloads by their use of the cache.", "use")
        self._seconds = Histogram(
            "imageapi_request_duration_seconds",
            "Time from the request to the end of the response, by whether it sends data.",
            ("data",),
            registry=registry,
            buckets=_BUCKETS,
        )
        self.running = gauge("running_requests", "Requests whose response has not ended.")
        self.busy = gauge("busy_threads", "Threads that work.")
        self.waiting = gauge("waiting_requests", "Requests that wait for a thread.")

    def count(self, event: RequestEnded) -> None:
        """Count a request that has ended."""
        self.running.dec()
        method = event.method if event.method in _METHODS else "other"
        status = "none" if event.status is None else str(event.status)
        self._requests.labels(method, status).inc()
        self._bytes.inc(event.sent)
        self._seconds.labels("yes" if event.sends_data else "no").observe(event.seconds)
        if event.outcome is Outcome.BROKEN_OFF:
            self._broken_off.inc()
        if event.outcome is Outcome.LEFT:
            self._left.inc()
        if event.is_wrong:
            self._wrong.inc()
        if event.resumed:
            self._resumes.labels(event.store or "none").inc(event.resumed)
        if event.cache is not None:
            self._cache.labels(event.cache).inc()


# In multiprocess mode, a second set of metrics in one process would overwrite the first
# one's files.  So all drivers of a process share one set, which is gone with the last driver.
_shared: WeakValueDictionary[int, _Metrics] = WeakValueDictionary()
_lock = threading.Lock()


def _metrics_of_process() -> _Metrics:
    with _lock:
        metrics = _shared.get(os.getpid())
        if metrics is None:
            metrics = _shared[os.getpid()] = _Metrics()
        return metrics


def _is_multiprocess() -> bool:
    """Whether prometheus_client counts in files; it decided so when it was imported."""
    return values.ValueClass is not values.MutexValue


def _check_folder() -> None:
    """Check that the folder of multiprocess mode can be used.

    :raises BackendUnavailable: it cannot, or it has no files of this process although this
        process counts.  A folder that was merely created again would give wrong sums: a
        running process goes on to count in the files that were removed.
    """
    folder = os.environ.get(_VARIABLE, "")
    about = f"{folder!r}, which {_VARIABLE} names,"
    if not os.path.isdir(folder) or not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        problem = f"{about} is not a folder that this process can write to: create it"
        raise BackendUnavailable(f"{problem}, and {_BEGIN_AGAIN}")
    counts = _shared.get(os.getpid()) is not None
    if counts and not glob.glob(os.path.join(glob.escape(folder), f"*_{os.getpid()}.db")):
        raise BackendUnavailable(f"{about} has lost the files of this process: {_BEGIN_AGAIN}")
