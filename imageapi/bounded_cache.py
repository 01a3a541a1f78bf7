# SPDX-License-Identifier: Apache-2.0
"""Remembers values in bounded memory; the only cache class of this library."""

import contextlib
import threading
from collections.abc import Callable, Hashable
from operator import itemgetter
from typing import Generic, TypeVar

from cachetools import FIFOCache

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

# Of so many new keys, a cache that cannot keep all of them takes one.
_OFFERS = 8


class BoundedCache(Generic[K, V]):
    """Remembers values up to a total weight; drops the oldest first.  Thread-safe."""

    def __init__(self, capacity: int) -> None:
        """Create an empty cache.

        :param capacity: the limit for the total weight of all values.
        """
        self._lock = threading.Lock()
        self._entries: FIFOCache[K, tuple[int, V]] = FIFOCache(capacity, getsizeof=itemgetter(0))
        self._has_dropped = False
        self._offers = 0

    def get(self, key: K) -> V | None:
        """Return the value of a key, or None."""
        with self._lock:
            entry = self._entries.get(key)
        return None if entry is None else entry[1]

    def put(self, key: K, value: V, weight: int = 1) -> None:
        """Remember a value for a key, and replace an earlier one.

        A value that is heavier than the whole cache is not remembered.
        """
        with self._lock:
            self._entries.pop(key, None)
            # A value that is too heavy drops none.
            if self._entries.currsize + weight > self._entries.maxsize >= weight:
                self._has_dropped = True
            with contextlib.suppress(ValueError):  # too heavy
                self._entries[key] = (weight, value)

    def offer(self, key: K, value: V, weigh: Callable[[V], int]) -> None:
        """Remember a value as `put` does; once the cache has dropped one, only one in eight.

        A value for a key that is in the cache is always remembered.  If more values are needed
        in turns than the cache can keep, most are dropped before they are needed again, and
        weighing and keeping each of them takes time.

        :param weigh: returns the weight; called only if the value is remembered.
        """
        with self._lock:
            self._offers += 1
            is_taken = self._offers % _OFFERS == 0 or not self._has_dropped or key in self._entries
        if is_taken:
            self.put(key, value, weigh(value))

    def forget(self, key: K) -> None:
        """Forget the value of a key, if there is one."""
        with self._lock:
            self._entries.pop(key, None)
