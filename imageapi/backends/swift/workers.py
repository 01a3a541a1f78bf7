# SPDX-License-Identifier: Apache-2.0
"""A few threads that send requests to Swift at the same time."""

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Workers:
    """Threads that are started when there is work.  Safe in threads, and after a fork."""

    def __init__(self, count: int) -> None:
        """Prepare; start no thread yet.

        :param count: at most so many threads, for all callers together.
        """
        self._count = count
        self._lock = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None
        self._process = os.getpid()

    def each(self, work: Callable[[T], R], items: Iterable[T]) -> Generator[R, None, None]:
        """Yield the result of the work on each item, in the order of the items.

        The work on a few items begins before their results are asked for.  If the
        generator is closed, or the work on an item raises an error, then the work that
        has not begun yet is cancelled.
        """
        executor = self._executor_of_process()
        ahead: deque[Future[R]] = deque()
        try:
            for item in items:
                ahead.append(executor.submit(work, item))
                if len(ahead) >= 2 * self._count:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()

    def close(self) -> None:
        """Wait for the work that has begun, and end the threads."""
        with self._lock:
            executor, self._executor = self._executor, None
        if executor is not None and self._process == os.getpid():
            executor.shutdown(cancel_futures=True)

    def _executor_of_process(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._executor is None or self._process != os.getpid():
                # After a fork, the threads exist only in the parent.
                self._executor = ThreadPoolExecutor(self._count, "imageapi-swift")
                self._process = os.getpid()
            return self._executor
