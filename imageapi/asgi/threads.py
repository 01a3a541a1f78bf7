# SPDX-License-Identifier: Apache-2.0
"""A bounded number of threads for an event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class PoolClosed(RuntimeError):
    """The pool is closed and accepts no work."""


class Pool:
    """Runs work in threads, and returns the result to the event loop that requested it."""

    def __init__(self, count: int) -> None:
        """Create a pool of at most ``count`` threads; each starts when it is needed."""
        self._executor = ThreadPoolExecutor(count, "imageapi")

    def run(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        """Run work in a thread.  Call this in an event loop.

        :returns: a future of its result.  Cancelling it does not stop work that has begun.
        :raises PoolClosed: the pool is closed.
        """
        try:
            return asyncio.get_running_loop().run_in_executor(self._executor, work)
        except RuntimeError as error:
            raise PoolClosed(str(error)) from None

    def close(self) -> None:
        """Run the work that already waits, and end the threads."""
        self._executor.shutdown()
