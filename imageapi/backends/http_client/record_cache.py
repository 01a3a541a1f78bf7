# SPDX-License-Identifier: Apache-2.0
"""Parsed records, kept by their ETags: the upstream is asked whether they still hold."""

from collections.abc import Hashable
from typing import NamedTuple

from imageapi.bounded_cache import BoundedCache
from imageapi.errors import MalformedImage
from imageapi.image import Image, weight_of

# By a count of the bytes that they take.
_REMEMBERED_BYTES = 8 * 1024 * 1024


class CachedRecord(NamedTuple):
    """What a record was found to be, and the ETag that it came with."""

    etag: str
    found: Image | MalformedImage


class RecordCache:
    """Bounded by the memory that the records take; safe in threads."""

    def __init__(self) -> None:
        self._records: BoundedCache[Hashable, CachedRecord] = BoundedCache(_REMEMBERED_BYTES)

    def get(self, key: Hashable) -> CachedRecord | None:
        """The record that is remembered under a key."""
        return self._records.get(key)

    def replace(self, key: Hashable, etag: str, found: Image | MalformedImage) -> None:
        """Remember a record, or what is wrong with it, in place of the one before.

        :param etag: empty where the record cannot be asked for by it; then it
            is not remembered.
        """
        if etag:
            self._records.put(key, CachedRecord(etag, found), weight_of((key, etag, found)))
        else:
            self._records.forget(key)
