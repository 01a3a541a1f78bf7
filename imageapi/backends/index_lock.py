# SPDX-License-Identifier: Apache-2.0
"""The lock of an index of records, for which few threads wait for long.

A process makes its first index while a list waits, which takes seconds or minutes.  If all
further lists waited too, they would occupy every thread of the service.
"""

import threading
from types import TracebackType

from imageapi.errors import BackendUnavailable

#: For how many seconds any thread waits.
WAIT_SECONDS = 1.0

#: How many threads wait for as long as it takes.
MOST_PATIENT = 4

_RETRY_SECONDS = 5


class IndexLock:
    """A lock, used as ``with lock:``.

    :ivar has_index: set by the owner when the first index is made.  From then on, all threads
        wait, because an index is usually brought up to date in less than a second.
    """

    def __init__(self) -> None:
        self.has_index = False
        self._lock = threading.Lock()
        self._patient = threading.Semaphore(MOST_PATIENT)

    def __enter__(self) -> None:
        """Take the lock.

        :raises BackendUnavailable: the first index is being made, and enough threads wait.
        """
        if self._lock.acquire(timeout=-1 if self.has_index else WAIT_SECONDS):
            return
        if not self._patient.acquire(blocking=False):
            raise BackendUnavailable(
                "the index of the records is being made, and other lists wait for it",
                _RETRY_SECONDS,
            )
        try:
            self._lock.acquire()
        finally:
            self._patient.release()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lock.release()
