# SPDX-License-Identifier: Apache-2.0
"""A bounded number of threads for an event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class PoolClosed(RuntimeError):
    """No work is taken any more."""


class Pool:
    """Runs work in threads, and hands the outcome to the event loop that asked for it."""

    def __init__(self, count: int) -> None:
        """Make a pool; it starts no thread before it needs one.

        :param count: how many threads there may be.
        """
        self._executor = ThreadPoolExecutor(count, "imageapi")

    def run(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        """Run work; to be called in an event loop.

        :returns: its outcome.  Work that has begun goes on where this is cancelled.
        :raises PoolClosed: it is closed.
        """
        try:
            return asyncio.get_running_loop().run_in_executor(self._executor, work)
        except RuntimeError as error:
            raise PoolClosed(str(error)) from None

    def close(self) -> None:
        """Run what waits already, and end the threads."""
        self._executor.shutdown()
