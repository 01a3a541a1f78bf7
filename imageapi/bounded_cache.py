# SPDX-License-Identifier: Apache-2.0
"""Remembers values in bounded memory; the only cache class of this library."""

import contextlib
import threading
from collections.abc import Hashable
from operator import itemgetter
from typing import Generic, TypeVar

from cachetools import FIFOCache

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BoundedCache(Generic[K, V]):
    """Remembers values up to a total weight; drops the oldest first.  Thread-safe."""

    def __init__(self, capacity: int) -> None:
        """Create an empty cache.

        :param capacity: the limit for the total weight of all values.
        """
        self._lock = threading.Lock()
        self._entries: FIFOCache[K, tuple[int, V]] = FIFOCache(capacity, getsizeof=itemgetter(0))

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
            with contextlib.suppress(ValueError):  # too heavy
                self._entries[key] = (weight, value)

    def forget(self, key: K) -> None:
        """Forget the value of a key, if there is one."""
        with self._lock:
            self._entries.pop(key, None)
