# SPDX-License-Identifier: Apache-2.0
"""The first process of ``serve``: gunicorn, which starts the workers and replaces them."""

import logging
import resource
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any, Protocol

import gunicorn.glogging
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker as AnyWorker

from imageapi.commands.serve_settings import ServeSettings
from imageapi.commands.worker import ENDS, plain_port_of, worker_of
from imageapi.errors import BackendError, ConfigurationError

LOG = logging.getLogger(__name__)

#: How many unsent bytes the kernel may buffer for a client.  Otherwise it buffers
#: megabytes for each client, even a slow one.
UNSENT_BYTES = 128 * 1024

# Descriptors of a connection: its socket, its data, and briefly another file.  And those
# that are open without any connection, or accepted before they are counted.
_DESCRIPTORS_EACH = 3
_DESCRIPTORS_BESIDES = 80


# How the lines begin in which gunicorn says where it listens.
_ADDRESSES = ("Listening at", "ASGI server listening on")


class Closing(Protocol):
    """An application that can be closed."""

    def close(self) -> None: ...


class Server(BaseApplication):
    """gunicorn with the settings of this module; reads no command line and no file."""

    def __init__(
        self, app: Closing, build: Callable[[], Closing], settings: ServeSettings, **more: Any
    ) -> None:
        """Prepare a server; ``run()`` serves until a signal stops it.

        :param app: the application, created before workers are forked.
        :param build: creates it again, for a reload; raises `ConfigurationError`.
        :param more: other settings of gunicorn.
        """
        self._app = app
        self._build = build
        self._settings = settings
        self._more = more
        super().__init__()

    def run(self) -> None:
        self.cfg.set("worker_connections", _allowed_connections(self._settings.connections))
        _Master(self).run()

    def renew(self) -> bool:
        """Read the configuration again; return whether it is valid."""
        try:
            fresh = self._build()
        except ConfigurationError as error:
            for problem in error.problems:
                LOG.error("configuration: %s", problem)
            LOG.error("the new configuration is refused: the old one stays in force")
            return False
        # The workers that still use the old application have their own copies.
        self._app.close()
        self._app = fresh
        return True

    def load_config(self) -> None:
        for name, value in {**settings_for(self._settings), **self._more}.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        return self._app


class _Master(Arbiter):
    """gunicorn's first process, which starts the workers and replaces them at SIGHUP."""

    app: Server

    def __init__(self, app: Server) -> None:
        super().__init__(app)
        # Workers that were replaced, but are still finishing downloads.
        self._leaving: set[int] = set()

    def handle_hup(self) -> None:
        # A new worker has no verified versions.  So do not replace workers for an invalid
        # configuration.
        if self.app.renew():
            self._leaving.update(self.WORKERS)
            super().handle_hup()

    def spawn_worker(self) -> Any:
        # Until a worker installs its own signal handlers, it has copies of ours, which
        # would swallow its signals.  Block them until then.
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)
        try:
            return super().spawn_worker()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDS)

    def manage_workers(self) -> None:
        # gunicorn counts leaving workers too, and so does not replace a worker that dies
        # meanwhile.
        super().manage_workers()
        self._leaving.intersection_update(self.WORKERS)
        for _ in range(len(self.WORKERS) - len(self._leaving), self.num_workers):
            self.spawn_worker()


def _allowed_connections(wanted: int) -> int:
    """Raise the descriptor limit of this process and its workers.

    :param wanted: how many connections a worker may hold.
    :returns: the number of connections that the limit allows.  A worker that reaches
        the limit would respond with errors.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed, needed = wanted, wanted * _DESCRIPTORS_EACH + _DESCRIPTORS_BESIDES
    if hard != resource.RLIM_INFINITY and hard < needed:
        allowed = max(1, (hard - _DESCRIPTORS_BESIDES) // _DESCRIPTORS_EACH)
        LOG.warning(
            "a process may open only %d files, so a worker holds %d connections instead of %d:"
            " raise the limit to %d (ulimit -Hn, or LimitNOFILE= in systemd)",
            *(hard, allowed, wanted, needed),
        )
        needed = hard
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    return allowed


def _log_addresses(master: Arbiter, settings: ServeSettings) -> None:
    """Log where clients can connect.

    gunicorn itself would call each address https if one of them speaks TLS.
    """
    plain_port = plain_port_of(settings)
    urls = []
    for listener in master.LISTENERS:
        name = listener.sock.getsockname()
        if isinstance(name, tuple):
            host, port = name[:2]
            scheme = "https" if settings.certificate and port != plain_port else "http"
            host = f"[{host}]" if ":" in host else host
            path = " (only /metrics)" if port == plain_port else ""
            urls.append(f"{scheme}://{host}:{port}{path}")
        else:
            urls.append(f"unix:{name}")
    LOG.info("listens at %s", ", ".join(urls))


def _bound_what_clients_cost(master: Arbiter, *, stall_timeout: int) -> None:
    for listener in master.LISTENERS:
        # Accepted connections inherit these options.
        option = socket.TCP_USER_TIMEOUT
        listener.sock.setsockopt(socket.IPPROTO_TCP, option, stall_timeout * 1000)
        listener.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)


def settings_for(settings: ServeSettings) -> dict[str, Any]:
    """Return gunicorn's settings."""

    def when_ready(master: Arbiter) -> None:
        _log_addresses(master, settings)
        _bound_what_clients_cost(master, stall_timeout=settings.stall_timeout)

    def post_fork(_: Arbiter, worker: AnyWorker) -> None:
        # Only in the worker: the first process waits for its own graceful_timeout, and
        # handles no signals meanwhile.
        worker.cfg.set("graceful_timeout", settings.reload_timeout)

    def child_exit(_: Arbiter, worker: AnyWorker) -> None:
        if settings.metrics_bind:
            from imageapi.events.prometheus import forget_process

            forget_process(int(worker.pid))

    return {
        "bind": [*settings.bind, *filter(None, [settings.metrics_bind])],
        "workers": settings.workers,
        "worker_class": worker_of(settings),
        "logger_class": Logger,
        "proc_name": "imageapi",
        "keepalive": settings.idle_timeout,
        "graceful_timeout": settings.stop_timeout,
        "certfile": settings.certificate,
        "keyfile": settings.private_key,
        "when_ready": when_ready,
        "post_fork": post_fork,
        "child_exit": child_exit,
        "asgi_lifespan": "on",
        # Always the same parser: "auto" would use another one if it is installed.
        "http_parser": "python",
        # Otherwise clients on this machine could set another mount point or scheme.
        "forwarder_headers": "",
        "secure_scheme_headers": {},
        # gunicorn would create a socket in the home folder.
        "control_socket_disable": True,
    }


class Logger(gunicorn.glogging.Logger):
    """Passes gunicorn's own lines to the log of this process."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers[:] = []
        self.error_log.propagate = True

    def info(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        # `_log_addresses` says where clients can connect.
        if not str(msg).startswith(_ADDRESSES):
            super().info(msg, *args, **kwargs)

    def exception(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        # That a download was broken off, and why, is in the log already.
        if not isinstance(sys.exc_info()[1], BackendError):
            super().exception(msg, *args, **kwargs)
