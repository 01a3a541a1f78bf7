# SPDX-License-Identifier: Apache-2.0
"""The command ``serve``: gunicorn with its ``asgi`` worker over the configuration."""

import logging
import resource
import signal
import socket
from collections.abc import Callable
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker as AnyWorker

from imageapi.asgi import Application
from imageapi.commands.worker import ENDS, Worker
from imageapi.errors import ConfigurationError

LOG = logging.getLogger(__name__)

# In seconds: how long downloads may go on after SIGTERM, and how long in a worker
# that SIGHUP has replaced; and how long a client may take nothing of its own.
STOP_SECONDS = 30
LEAVE_SECONDS = 6 * 60 * 60
STALL_SECONDS = 300

#: How much that is not on its way yet the system may hold for a client: else it takes
#: megabytes ahead of each, however slow it is.
UNSENT_BYTES = 128 * 1024

#: How many connections a worker holds, where so many descriptors may be open.
CONNECTIONS = 4000

# A connection has a socket, its data, and for moments another file; and so many are
# open without any connection, or accepted before they are counted.
_DESCRIPTORS_EACH = 3
_DESCRIPTORS_BESIDES = 80


class Server(BaseApplication):
    """gunicorn, told all it needs here; it reads no command line and no file."""

    def __init__(self, build: Callable[[], Application], settings: dict[str, Any]) -> None:
        """Prepare a server; ``run()`` serves until it is told to stop.

        :param build: makes the application, before workers are forked.
        :param settings: gunicorn's own, by name.
        :raises ConfigurationError: from ``build``.
        """
        self._build = build
        self._settings = settings
        self._app = build()
        super().__init__()

    def run(self) -> None:
        self.cfg.set("worker_connections", _allow_connections(CONNECTIONS))
        _Master(self).run()

    def renew(self) -> bool:
        """Read the configuration again; tell whether it is accepted."""
        try:
            fresh = self._build()
        except ConfigurationError as error:
            for problem in error.problems:
                LOG.error("configuration: %s", problem)
            LOG.error("the new configuration is refused: the old one stays in force")
            return False
        # The workers that still use it have copies of their own.
        self._app.close()
        self._app = fresh
        return True

    def load_config(self) -> None:
        for name, value in self._settings.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        return self._app


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
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)
        try:
            return super().spawn_worker()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDS)

    def manage_workers(self) -> None:
        # gunicorn counts the leaving ones, and makes none in place of one that
        # dies beside them.
        super().manage_workers()
        self._leaving.intersection_update(self.WORKERS)
        for _ in range(len(self.WORKERS) - len(self._leaving), self.num_workers):
            self.spawn_worker()


def _allow_connections(wanted: int) -> int:
    """Raise the limit of descriptors of this process, and so of its workers, for connections.

    :returns: for how many it is enough: a worker at its limit would answer with errors.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted * _DESCRIPTORS_EACH + _DESCRIPTORS_BESIDES
    if hard != resource.RLIM_INFINITY and hard < needed:
        wanted = max(1, (hard - _DESCRIPTORS_BESIDES) // _DESCRIPTORS_EACH)
        LOG.warning(
            "a process may open only %d files, so a worker holds %d connections instead of %d:"
            " raise the limit to %d (ulimit -Hn, or LimitNOFILE= in systemd)",
            *(hard, wanted, CONNECTIONS, needed),
        )
        needed = hard
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    return wanted


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


def settings_for(host: str, port: int, workers: int) -> dict[str, Any]:
    """gunicorn's settings; a host with a colon is an IPv6 address."""
    return {
        "bind": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        "workers": workers,
        "worker_class": Worker,
        "proc_name": "imageapi",
        "graceful_timeout": STOP_SECONDS,
        "when_ready": _bound_what_clients_cost,
        "post_fork": _take_time_to_leave,
        "asgi_lifespan": "on",
        # The same parser wherever it runs: "auto" takes another one that is installed.
        "http_parser": "python",
        # Clients on this machine could else name another mount point, or another scheme.
        "forwarder_headers": "",
        "secure_scheme_headers": {},
        # gunicorn would put a socket under the home folder.
        "control_socket_disable": True,
    }
