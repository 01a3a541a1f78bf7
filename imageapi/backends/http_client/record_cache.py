# SPDX-License-Identifier: Apache-2.0
"""Parsed records, kept by their ETags: the upstream is asked whether they still hold."""

import contextlib
import threading
from collections.abc import Hashable
from typing import NamedTuple

from cachetools import FIFOCache

from imageapi.errors import MalformedImage
from imageapi.image import Image, weight_of

# By a count of the bytes that they take.
_REMEMBERED_BYTES = 8 * 1024 * 1024


class RememberedRecord(NamedTuple):
    """What a record was found to be, and the ETag that it came with."""

    etag: str
    found: Image | MalformedImage
    weight: int


class RememberedRecords:
    """Bounded by the memory that they take; safe in threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: FIFOCache[Hashable, RememberedRecord] = FIFOCache(
            _REMEMBERED_BYTES, getsizeof=lambda record: record.weight
        )

    def get(self, key: Hashable) -> RememberedRecord | None:
        """What is remembered under a key."""
        with self._lock:
            return self._known.get(key)

    def replace(self, key: Hashable, etag: str, found: Image | MalformedImage) -> None:
        """Remember a record, or what is wrong with it, in place of what there was.

        :param etag: empty where the record cannot be asked for by it; then it
            is not remembered.
        """
        with self._lock:
            self._known.pop(key, None)
            if etag:
                # ValueError: it is too large to be remembered.
                with contextlib.suppress(ValueError):
                    weight = weight_of((key, etag, found))
                    self._known[key] = RememberedRecord(etag, found, weight)
