# SPDX-License-Identifier: Apache-2.0
"""A bounded pool of threads for an event loop, made for very short pieces of work.

`ThreadPoolExecutor` wakes a thread for each piece.  Where pieces take microseconds,
its threads then mostly wait for each other and for the interpreter's lock.  Here one
thread takes them all, and more come as soon as a piece has waited for a moment.
"""

import asyncio
import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

# In seconds: how long work waits before one more thread comes for it, and how long a
# thread waits for work.  The interpreter may have to wait for the latter when it ends.
PATIENCE = 0.001
_IDLE = 0.1


class PoolClosed(RuntimeError):
    """No work is taken any more."""


class Pool:
    """Runs work in threads, and hands the outcome to the event loop that asked for it."""

    def __init__(self, count: int) -> None:
        """Make a pool; it starts no thread before it needs one.

        :param count: how many threads there may be.
        """
        self._count = count
        self._executor = ThreadPoolExecutor(count, "imageapi")
        self._waiting: deque[tuple[float, Callable[[], None]]] = deque()
        self._outcomes: _Outcomes | None = None
        self._wakes: queue.SimpleQueue[None] = queue.SimpleQueue()
        # All below is guarded by it.
        self._lock = threading.Lock()
        self._busy = 0
        self._idle = 0
        self._is_watched = False
        self._is_closed = False

    def run(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        """Run work; to be called in an event loop.

        :returns: its outcome.  Who cancels it is no longer told; the work goes on.
        :raises PoolClosed: it is closed.
        """
        loop = asyncio.get_running_loop()
        outcomes = self._outcomes_of(loop)
        outcome: asyncio.Future[T] = loop.create_future()

        def run() -> None:
            result: T | None = None
            error: BaseException | None = None
            try:
                result = work()
            except BaseException as raised:  # noqa: BLE001  # it is raised where it is waited for
                error = raised
            outcomes.post(outcome, result, error)

        if self._add(run):
            loop.call_later(PATIENCE, self._watch, loop)
        return outcome

    def _outcomes_of(self, loop: asyncio.AbstractEventLoop) -> "_Outcomes":
        outcomes = self._outcomes
        if outcomes is None or outcomes.loop is not loop:
            with self._lock:
                # What another loop was to watch it may never come to.
                self._is_watched = False
            outcomes = self._outcomes = _Outcomes(loop)
        return outcomes

    def _add(self, run: Callable[[], None]) -> bool:
        """Put work into the queue; tell whether it is to be watched."""
        now = time.monotonic()
        with self._lock:
            if self._is_closed:
                raise PoolClosed("the pool is closed")
            self._waiting.append((now, run))
            if self._busy == 0:
                self._wake()
                return False
            is_watched, self._is_watched = self._is_watched, True
            return not is_watched

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let one more thread come where work has waited for too long."""
        now = time.monotonic()
        with self._lock:
            if not self._waiting or self._is_closed:
                self._is_watched = False
                return
            since, _ = self._waiting[0]
            if now - since >= PATIENCE and self._busy < self._count:
                self._wake()
        loop.call_later(PATIENCE, self._watch, loop)

    def _wake(self) -> None:
        self._busy += 1
        if self._idle:
            self._idle -= 1
            self._wakes.put(None)
        else:
            self._executor.submit(self._work)

    def _work(self) -> None:
        """A thread's life: run what waits, and wait for more for a moment."""
        while True:
            while (run := self._take()) is not None:
                run()
            if not self._is_woken():
                return

    def _take(self) -> Callable[[], None] | None:
        """What has waited longest; None where nothing does, and the thread is idle now."""
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()[1]
            self._busy -= 1
            self._idle += 1
            return None

    def _is_woken(self) -> bool:
        """Wait while idle; tell whether there is work again."""
        while True:
            with contextlib.suppress(queue.Empty):
                self._wakes.get(timeout=_IDLE)
                return True
            with self._lock:
                if self._idle:
                    self._idle -= 1
                    return False
            # All idle ones are being woken, but another one may take what was for this.

    def close(self) -> None:
        """Run what waits already, and end the threads."""
        with self._lock:
            self._is_closed = True
        self._executor.shutdown()


class _Outcomes:
    """What threads hand to an event loop, which is woken once for all that is there."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._posted: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        self._is_announced = False

    def post(
        self, outcome: "asyncio.Future[T]", result: T | None, error: BaseException | None
    ) -> None:
        """Set an outcome, in the loop; to be called in a thread."""
        self._posted.append((outcome, result, error))
        if not self._is_announced:
            self._is_announced = True
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self.loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        # First, so that what is posted from now on is announced again.
        self._is_announced = False
        while self._posted:
            outcome, result, error = self._posted.popleft()
            if outcome.done():  # cancelled
                continue
            if error is None:
                outcome.set_result(result)
            else:
                outcome.set_exception(error)
