# SPDX-License-Identifier: Apache-2.0
"""A bounded number of threads for an event loop."""

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from imageapi.events.base import Load

T = TypeVar("T")


class PoolClosed(RuntimeError):
    """The pool is closed and accepts no work."""


class Pool:
    """Runs work in threads, and returns the result to the event loop that requested it.

    :ivar downloads: how many downloads use the pool; changed by event loops only.
    """

    def __init__(self, count: int) -> None:
        """Create a pool of at most ``count`` threads; each starts when it is needed."""
        self._executor = ThreadPoolExecutor(count, "imageapi")
        self._lock = threading.Lock()
        self._waiting = self._busy = 0
        self.downloads = 0

    def run(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        """Run work in a thread.  Call this in an event loop.

        The thread gets a copy of the caller's context variables, so that a log can name the
        request.

        :returns: a future of its result.  Cancelling it does not stop work that has begun.
        :raises PoolClosed: the pool is closed.
        """
        self._count(waiting=1)
        try:
            loop = asyncio.get_running_loop()
            context = contextvars.copy_context()
            future = self._executor.submit(context.run, self._run, work)
        except RuntimeError as error:
            self._count(waiting=-1)
            raise PoolClosed(str(error)) from None
        future.add_done_callback(self._forget_cancelled)
        return asyncio.wrap_future(future, loop=loop)

    def _forget_cancelled(self, future: "Future[T]") -> None:
        if future.cancelled():  # before a thread began it
            self._count(waiting=-1)

    @contextlib.contextmanager
    def downloading(self) -> Iterator[None]:
        """Count a download until it ends."""
        self.downloads += 1
        try:
            yield
        finally:
            self.downloads -= 1

    def load(self) -> Load:
        """Return how many threads work, and how much work waits for one."""
        with self._lock:
            return Load(self._busy, self._waiting)

    def _run(self, work: Callable[[], T]) -> T:
        self._count(waiting=-1, busy=1)
        try:
            return work()
        finally:
            self._count(busy=-1)

    def _count(self, *, waiting: int = 0, busy: int = 0) -> None:
        with self._lock:
            self._waiting += waiting
            self._busy += busy

    def close(self) -> None:
        """Run the work that already waits, and end the threads."""
        self._executor.shutdown()
