# SPDX-License-Identifier: Apache-2.0
"""The command ``serve``: gunicorn with threads over the configuration."""

import contextlib
import logging
import resource
import selectors
import signal
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker as AnyWorker
from gunicorn.workers.gthread import ThreadWorker

from imageapi.api import ImageAPI
from imageapi.errors import ConfigurationError

LOG = logging.getLogger(__name__)

# In seconds: how long downloads may go on after SIGTERM, and how long in a worker
# that SIGHUP has replaced; and how long a client may take nothing of its own.
STOP_SECONDS = 30
LEAVE_SECONDS = 6 * 60 * 60
STALL_SECONDS = 300

#: How long a client may take to begin with a request, and then to send its head; and
#: how long to begin once the worker is leaving.
HEAD_SECONDS = 20.0
LINGER_SECONDS = 2.0

#: How much that is not on its way yet the system may hold for a client: else it takes
#: megabytes ahead of each, however slow it is.
UNSENT_BYTES = 128 * 1024

#: How many connections a worker holds besides those that have a thread.
WAITING_CONNECTIONS = 1000

# By which a worker is told to end.
_ENDS = {signal.SIGTERM, signal.SIGQUIT, signal.SIGINT}


class Worker(ThreadWorker):
    """gunicorn's, whose threads wait for the whole of a head no longer than `HEAD_SECONDS`.

    Else as many clients as there are threads, each of which sends half a line
    and stays, would keep all others out.  For those that have sent nothing yet no
    thread waits at all.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._reading: dict[Any, float] = {}

    def init_signals(self) -> None:
        super().init_signals()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDS)

    def enqueue_req(self, conn: Any) -> None:
        if conn.initialized or conn.data_ready:
            super().enqueue_req(conn)
            return
        conn.sock.setblocking(False)
        conn.timeout = time.monotonic() + HEAD_SECONDS
        self.pending_conns.append(conn)
        began = partial(self.on_pending_socket_readable, conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, began)

    def handle(self, conn: Any) -> Any:
        self._reading[conn] = time.monotonic() + HEAD_SECONDS
        try:
            return super().handle(conn)
        finally:
            self._reading.pop(conn, None)

    def handle_request(self, req: Any, conn: Any) -> Any:
        self._reading.pop(conn, None)
        return super().handle_request(req, conn)

    def notify(self) -> None:
        """Called about once a second by the thread that accepts connections."""
        super().notify()
        now = time.monotonic()
        if not self.alive:
            for conn in self.pending_conns:
                conn.timeout = min(conn.timeout or now, now + LINGER_SECONDS)
        for conn, until in list(self._reading.items()):
            if until < now:
                # Wakes the thread that reads, as if the client had left.
                with contextlib.suppress(OSError):
                    conn.sock.shutdown(socket.SHUT_RD)


class Server(BaseApplication):
    """gunicorn, told all it needs here; it reads no command line and no file."""

    def __init__(self, build: Callable[[], ImageAPI], settings: dict[str, Any]) -> None:
        """Prepare a server; ``run()`` serves until it is told to stop.

        :param build: makes the application, before workers are forked.
        :param settings: gunicorn's own, by name.
        :raises ConfigurationError: from ``build``.
        """
        self._build = build
        self._settings = settings
        self._api = build()
        super().__init__()

    def run(self) -> None:
        _allow_descriptors(self.cfg.worker_connections, self.cfg.threads)
        _Master(self).run()

    def renew(self) -> bool:
        """Read the configuration again; tell whether it is accepted."""
        try:
            fresh = self._build()
        except ConfigurationError as error:
            for problem in error.problems:
                LOG.error("configuration: %s", problem)
            LOG.error("the configuration is refused: it stays as it was")
            return False
        # The workers that still use it have copies of their own.
        self._api.close()
        self._api = fresh
        return True

    def load_config(self) -> None:
        for name, value in self._settings.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        return self._api


class _Master(Arbiter):
    """gunicorn's first process, which makes the workers and replaces them at SIGHUP."""

    app: Server

    def __init__(self, app: Server) -> None:
        super().__init__(app)
        # Workers that were replaced, and still finish their downloads.
        self._leaving: set[int] = set()

    def handle_hup(self) -> None:
        # Workers that are replaced forget what they have verified: not for a
        # configuration that is refused.
        if self.app.renew():
            self._leaving.update(self.WORKERS)
            super().handle_hup()

    def spawn_worker(self) -> Any:
        # Until a worker has handlers of its own it has copies of ours, which
        # would swallow what it is sent: it waits for the worker's.
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)
        try:
            return super().spawn_worker()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDS)

    def manage_workers(self) -> None:
        # gunicorn counts the leaving ones, and makes none in place of one that
        # dies beside them.
        super().manage_workers()
        self._leaving.intersection_update(self.WORKERS)
        for _ in range(len(self.WORKERS) - len(self._leaving), self.num_workers):
            self.spawn_worker()


def _allow_descriptors(connections: int, threads: int) -> None:
    """Raise the limit of this process, and so of its workers, as far as it may be raised.

    A worker of gunicorn's that cannot accept a connection dies with all its downloads.
    """
    # A thread has its data open, and perhaps a record and a connection to a server.
    wanted = connections + 3 * threads + 100
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        LOG.warning(
            "a process may open %d files: %d connections can need %d,"
            " so raise its limit (ulimit -Hn, LimitNOFILE= of systemd)",
            *(hard, connections, wanted),
        )
        wanted = hard
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _bound_what_clients_cost(master: Arbiter) -> None:
    milliseconds = STALL_SECONDS * 1000
    for listener in master.LISTENERS:
        # What is accepted inherits them.
        listener.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
        listener.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)


def _take_time_to_leave(_: Arbiter, worker: AnyWorker) -> None:
    # In the worker alone, since the first process waits as long as its own
    # setting says, and meanwhile is deaf to signals.
    worker.cfg.set("graceful_timeout", LEAVE_SECONDS)


def settings_for(host: str, port: int, workers: int, threads: int) -> dict[str, Any]:
    """gunicorn's settings; a host with a colon is an IPv6 address."""
    return {
        "bind": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        "workers": workers,
        "threads": threads,
        "worker_class": Worker,
        "worker_connections": threads + WAITING_CONNECTIONS,
        "proc_name": "imageapi",
        "graceful_timeout": STOP_SECONDS,
        "when_ready": _bound_what_clients_cost,
        "post_fork": _take_time_to_leave,
        # Clients on this machine could else name another mount point.
        "forwarder_headers": "",
        # gunicorn would put a socket under the home folder.
        "control_socket_disable": True,
    }
