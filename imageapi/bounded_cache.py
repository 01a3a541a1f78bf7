# SPDX-License-Identifier: Apache-2.0
"""What is remembered in bounded memory; the one cache of this library."""

import contextlib
import threading
from collections.abc import Hashable
from operator import itemgetter
from typing import Generic, TypeVar

from cachetools import FIFOCache

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BoundedCache(Generic[K, V]):
    """Remembers values up to a total weight; the oldest go first.  Safe in threads."""

    def __init__(self, capacity: int) -> None:
        """Make an empty cache.

        :param capacity: what the weights of all values together may reach.
        """
        self._lock = threading.Lock()
        self._entries: FIFOCache[K, tuple[int, V]] = FIFOCache(capacity, getsizeof=itemgetter(0))

    def get(self, key: K) -> V | None:
        """The value that is remembered under a key, or None."""
        with self._lock:
            entry = self._entries.get(key)
        return None if entry is None else entry[1]

    def put(self, key: K, value: V, weight: int = 1) -> None:
        """Remember a value in place of the one under the same key.

        A value that is heavier than the whole cache is not remembered.
        """
        with self._lock:
            self._entries.pop(key, None)
            with contextlib.suppress(ValueError):  # too heavy
                self._entries[key] = (weight, value)

    def forget(self, key: K) -> None:
        """Forget the value under a key, if there is one."""
        with self._lock:
            self._entries.pop(key, None)
