# SPDX-License-Identifier: Apache-2.0
"""The process that serves: gunicorn's ``asgi`` worker, and the bounds that it lacks.

All that overrides gunicorn's worker is here.  The first process, which starts and
replaces workers, is in `serve`.
"""

import asyncio
import ctypes
import signal
from collections.abc import Callable
from functools import partial
from typing import Any

from gunicorn.asgi.protocol import ASGIProtocol
from gunicorn.workers.gasgi import ASGIWorker

from imageapi.asgi.socket_writer import EXTENSION, Turns, Writer

#: In seconds: how long a client may take until its whole head is there; and how long
#: it may still begin with a request once the worker ends.
HEAD_SECONDS = 20.0
LINGER_SECONDS = 2.0

#: How many connections are accepted before the loop counts them.
ACCEPTED_AT_ONCE = 8

# As glibc's malloc.h has them.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8

# How often a worker that ends shows the first process that it lives, in seconds.
_BEAT_SECONDS = 1.0

# By which a worker is told to end.
ENDS = {signal.SIGTERM, signal.SIGQUIT, signal.SIGINT}


class Worker(ASGIWorker):
    """Holds no more connections than ``worker_connections``, and ends in peace."""

    loop: asyncio.AbstractEventLoop

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Those that are open, the oldest first.
        self._connections: dict[Connection, None] = {}
        self.turns = Turns()

    def _setup_event_loop(self) -> None:
        self.loop = _Loop(lambda: Connection(self), self.cfg.backlog)
        asyncio.set_event_loop(self.loop)

    def init_process(self) -> None:
        _keep_freed_memory()
        super().init_process()

    def init_signals(self) -> None:
        super().init_signals()
        # The event loop hears of a signal through the pipe by which threads wake it.
        # While many do so at once the pipe is full, and the signal would be lost.
        for number, handle in (
            (signal.SIGQUIT, self.handle_quit_signal),
            (signal.SIGTERM, self.handle_exit_signal),
            (signal.SIGINT, self.handle_quit_signal),
            (signal.SIGUSR1, self.handle_usr1_signal),
            (signal.SIGWINCH, self.handle_winch_signal),
            (signal.SIGABRT, self.handle_abort_signal),
        ):
            self.loop.remove_signal_handler(number)
            signal.signal(number, partial(_call, handle))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDS)

    def admit(self, connection: "Connection") -> None:
        """Count a new connection; one that waits makes room where they are too many."""
        self._connections[connection] = None
        if len(self._connections) > self.cfg.worker_connections:
            waiting = next((one for one in self._connections if one.is_waiting), None)
            if waiting is not None:
                waiting.end()
            else:
                connection.refuse()

    def forget(self, connection: "Connection") -> None:
        """Count a connection no longer."""
        self._connections.pop(connection, None)

    async def _shutdown(self) -> None:
        # gunicorn waits for all connections, also for those without a request; and
        # meanwhile shows no sign of life, for which the first process kills.
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


class Connection(ASGIProtocol):
    """gunicorn's, but its first head is waited for no longer than `HEAD_SECONDS`."""

    worker: Worker

    # What is gunicorn's own, and in no stubs.
    _awaiting_request: bool
    _closed: bool
    _flow_control: Any
    _keepalive_timeout: Callable[[], None]
    _send_error_response: Callable[[int, str, tuple[tuple[str, str], ...]], None]
    transport: Any
    _will_close: Callable[[Any, bool], bool]

    # Of the request that is being answered, or was the last.
    _writer: Writer | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether no request is being answered, nor is one there to be."""
        return self._awaiting_request and not self._closed

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        # A chunk is handed over when the one before has left: asyncio copies what it
        # keeps, once more for each client.
        transport.set_write_buffer_limits(high=0)
        # gunicorn cancels it when a head is there, and sets it again after the answer,
        # to its ``keepalive``.
        self._keepalive_handle = self.worker.loop.call_later(HEAD_SECONDS, self.end)
        self.worker.admit(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._writer is not None:
            self._writer.close()
        self.worker.forget(self)
        super().connection_lost(exc)

    def _build_http_scope(self, *args: Any) -> Any:
        scope = super()._build_http_scope(*args)  # type: ignore[misc]  # not in the stubs
        self._writer = Writer(self.transport.get_extra_info("socket"), self.worker.turns)
        scope["extensions"] = {EXTENSION: self._writer}
        return scope

    async def _serve_http_request(self, request: Any, *args: Any) -> Any:
        keepalive = await super()._serve_http_request(request, *args)  # type: ignore[misc]  # not in the stubs
        if self._writer is not None and self._writer.has_written:
            # gunicorn misses what it has not sent itself, and would close.
            keepalive = self._writer.is_complete and not self._will_close(request, False)
        # Where an answer has no body gunicorn does not wait until it is sent: a client
        # that asks on and reads nothing would have it remember them all.
        if self._flow_control.write_paused:
            await self._flow_control.drain()
        return keepalive

    def end(self) -> None:
        """Close it, as it waits for nothing that is worth it."""
        self.worker.forget(self)
        self._keepalive_timeout()

    def refuse(self) -> None:
        """Answer that there are too many, and close it."""
        self._send_error_response(503, "Too many connections.", (("Retry-After", "30"),))
        self.end()


def _call(handle: Callable[[], None], *_: object) -> None:
    handle()


def _keep_freed_memory() -> None:
    """Have chunks use the same memory again.

    By default the C library gives the memory of some chunks back to the system at
    once, which then has to clear it for the next ones: 220,000 page faults a GiB, and
    half of all processor time.  And it keeps memory for each of many threads, of which
    mostly one works.  Where the C library is another one, nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, 8 * 2**20)
        mallopt(_M_MMAP_THRESHOLD, 4 * 2**20)
        mallopt(_M_ARENA_MAX, 1)


class _Loop(asyncio.SelectorEventLoop):
    """Makes the server that gunicorn asks for with our connections, a few at a time."""

    def __init__(self, connect: Callable[[], Connection], backlog: int) -> None:
        super().__init__()
        self._connect = connect
        self._listen_backlog = backlog

    async def create_server(self, *_: Any, **given: Any) -> Any:
        server = await super().create_server(self._connect, backlog=ACCEPTED_AT_ONCE, **given)
        # asyncio has one number for how many it accepts at once and how many the
        # system may keep for it.
        given["sock"].listen(self._listen_backlog)
        return server
