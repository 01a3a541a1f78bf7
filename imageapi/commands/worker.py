# SPDX-License-Identifier: Apache-2.0
"""The process that serves: gunicorn's ``asgi`` worker, with limits that it lacks.

This module has everything that overrides gunicorn's worker.  The first process,
which starts and replaces workers, is in `imageapi.commands.server`.
"""

import asyncio
import ctypes
import gc
import signal
from collections.abc import Callable
from typing import Any

from gunicorn.asgi.protocol import ASGIProtocol
from gunicorn.workers.gasgi import ASGIWorker

from imageapi.asgi.socket_writer import EXTENSION, Turns, Writer
from imageapi.commands.serve_settings import ServeSettings

#: How long a client may still begin a request after the worker gets the signal to end,
#: in seconds.
LINGER_SECONDS = 2.0

#: How many connections are accepted before they are counted.
ACCEPTED_AT_ONCE = 8

# The constants of glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8

# The interval, in seconds, at which an ending worker signals that it is alive.
_BEAT_SECONDS = 1.0

# The signals that end a worker.
ENDS = {signal.SIGTERM, signal.SIGQUIT, signal.SIGINT}


class Worker(ASGIWorker):
    """Limits connections to ``worker_connections``, and ends gracefully."""

    loop: asyncio.AbstractEventLoop

    #: In seconds: how long a client may take to send its first request's headers.
    head_timeout = 20.0
    #: The port of the listener that never speaks TLS; None if each does.
    plain_port: int | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The open connections, oldest first.
        self._connections: dict[Connection, None] = {}
        self.turns = Turns()

    def _setup_event_loop(self) -> None:
        self.loop = _Loop(lambda: Connection(self), self.cfg.backlog, self.plain_port)
        asyncio.set_event_loop(self.loop)

    def init_process(self) -> None:
        _keep_freed_memory()
        # What is loaded by now stays.  Otherwise the garbage collector examines all of it again
        # and again while hundreds of clients connect, and the next client waits a fifth longer.
        gc.freeze()
        super().init_process()

    def init_signals(self) -> None:
        super().init_signals()
        # The event loop receives signals through the pipe by which threads wake it.  If
        # many threads wake it at once, the pipe is full, and the signal would be lost.
        for number, handle in (
            (signal.SIGQUIT, self.handle_quit_signal),
            (signal.SIGTERM, self.handle_exit_signal),
            (signal.SIGINT, self.handle_quit_signal),
            (signal.SIGUSR1, self.handle_usr1_signal),
            (signal.SIGWINCH, self.handle_winch_signal),
            (signal.SIGABRT, self.handle_abort_signal),
        ):
            self.loop.remove_signal_handler(number)
            signal.signal(number, lambda *_, handle=handle: handle())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDS)

    def admit(self, connection: "Connection") -> None:
        """Count a new connection; if there are too many, close an idle one or refuse it."""
        self._connections[connection] = None
        if len(self._connections) > self.cfg.worker_connections:
            waiting = next((one for one in self._connections if one.is_waiting), None)
            if waiting is not None:
                waiting.end()
            else:
                connection.refuse()

    def forget(self, connection: "Connection") -> None:
        """Stop counting a connection."""
        self._connections.pop(connection, None)

    async def _shutdown(self) -> None:
        # gunicorn waits for all connections, even those without a request.  Meanwhile it
        # does not signal that it is alive, so that the first process would kill it.
        self.loop.call_later(LINGER_SECONDS, self._end_waiting)
        beating = self.loop.create_task(self._beat())
        try:
            await super()._shutdown()  # type: ignore[misc]  # not in the stubs
        finally:
            beating.cancel()

    def _end_waiting(self) -> None:
        for connection in list(self._connections):
            if connection.is_waiting:
                connection.end()

    async def _beat(self) -> None:
        while True:
            self.notify()
            await asyncio.sleep(_BEAT_SECONDS)


def worker_of(settings: ServeSettings) -> type[Worker]:
    """Return the class of the workers for these settings; gunicorn passes it none of them."""
    plain_port = plain_port_of(settings)
    values = {"head_timeout": float(settings.head_timeout), "plain_port": plain_port}
    return type("Worker", (Worker,), values)


def plain_port_of(settings: ServeSettings) -> int | None:
    """Return the port that never speaks TLS, that of the metrics; None if there is none."""
    return int(settings.metrics_bind.rpartition(":")[2]) if settings.metrics_bind else None


class Connection(ASGIProtocol):
    """gunicorn's connection, with a time limit for the first request."""

    worker: Worker

    # Attributes of gunicorn that are missing in the type stubs.
    _awaiting_request: bool
    _closed: bool
    _flow_control: Any
    _keepalive_timeout: Callable[[], None]
    _send_error_response: Callable[[int, str, tuple[tuple[str, str], ...]], None]
    transport: Any
    _will_close: Callable[[Any, bool], bool]

    # The writer of the current or the last request.
    _writer: Writer | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether the connection is idle: no request is in progress or received."""
        return self._awaiting_request and not self._closed

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        # Pass on a chunk only after the one before was sent: asyncio would copy what it
        # buffers, for each client.
        # With TLS, asyncio would pause at 0 bytes too, and not always resume.
        high = 0 if transport.get_extra_info("sslcontext") is None else 1
        transport.set_write_buffer_limits(high=high, low=0)
        # gunicorn cancels this timer when headers have arrived, and after the response sets
        # it again, to its ``keepalive``.
        self._keepalive_handle = self.worker.loop.call_later(self.worker.head_timeout, self.end)
        self.worker.admit(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._writer is not None:
            self._writer.close()
        self.worker.forget(self)
        super().connection_lost(exc)

    def _build_http_scope(self, *args: Any) -> Any:
        scope = super()._build_http_scope(*args)  # type: ignore[misc]  # not in the stubs
        self._writer = None
        # With TLS, a thread's bytes would leave unencrypted.
        if self.transport.get_extra_info("sslcontext") is None:
            self._writer = Writer(self.transport.get_extra_info("socket"), self.worker.turns)
            scope["extensions"] = {EXTENSION: self._writer}
        return scope

    async def _serve_http_request(self, request: Any, *args: Any) -> Any:
        keepalive = await super()._serve_http_request(request, *args)  # type: ignore[misc]  # not in the stubs
        if self._writer is not None and self._writer.has_written:
            # gunicorn does not know of data that it has not sent itself, and would close.
            keepalive = self._writer.is_complete and not self._will_close(request, False)
        # gunicorn does not wait until a response without a body is sent.  A client that
        # keeps sending requests and reads nothing would fill the memory.
        if self._flow_control.write_paused:
            await self._flow_control.drain()
        return keepalive

    def end(self) -> None:
        """Close an idle or refused connection."""
        self.worker.forget(self)
        self._keepalive_timeout()

    def refuse(self) -> None:
        """Respond with 503 for too many connections, and close the connection."""
        self._send_error_response(503, "Too many connections.", (("Retry-After", "30"),))
        self.end()


def _keep_freed_memory() -> None:
    """Make chunks reuse the same memory.

    By default glibc returns the memory of some chunks to the system immediately, and
    the system must clear it for the next chunks.  That costs 220,000 page faults per
    GiB, and half of all processor time.  glibc also keeps memory for each of many
    threads, though mostly one works.  Other C libraries are not changed.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, 8 * 2**20)
        mallopt(_M_MMAP_THRESHOLD, 4 * 2**20)
        mallopt(_M_ARENA_MAX, 1)


class _Loop(asyncio.SelectorEventLoop):
    """Creates gunicorn's server with our connections, and accepts a few at a time."""

    def __init__(
        self, connect: Callable[[], Connection], backlog: int, plain_port: int | None
    ) -> None:
        super().__init__()
        self._plain_port = plain_port
        self._connect = connect
        self._listen_backlog = backlog

    async def create_server(self, *_: Any, **given: Any) -> Any:
        if given["sock"].getsockname()[1] == self._plain_port:
            given["ssl"] = None
        server = await super().create_server(self._connect, backlog=ACCEPTED_AT_ONCE, **given)
        # asyncio uses one number both for how many connections it accepts at once, and for
        # the system's queue (the backlog).
        given["sock"].listen(self._listen_backlog)
        return server
