# SPDX-License-Identifier: Apache-2.0
"""A cache of parsed records with their ETags, to be revalidated with the upstream."""

from collections.abc import Hashable
from typing import NamedTuple

from imageapi.bounded_cache import BoundedCache
from imageapi.errors import MalformedImage
from imageapi.image import Image, weight_of

# The limit, by an estimate of the memory of all entries.
_REMEMBERED_BYTES = 8 * 1024 * 1024


class CachedRecord(NamedTuple):
    """The result of parsing a record, and the ETag of its response."""

    etag: str
    found: Image | MalformedImage


class RecordCache(BoundedCache[Hashable, CachedRecord]):
    """The cached records: bounded in memory, safe in threads."""

    def __init__(self) -> None:
        super().__init__(_REMEMBERED_BYTES)

    def replace(self, key: Hashable, etag: str, found: Image | MalformedImage) -> None:
        """Cache a record, or its error, in place of an older entry.

        :param etag: empty if the record cannot be revalidated by it; then the older
            entry is only removed.
        """
        if etag:
            self.put(key, CachedRecord(etag, found), weight_of((key, etag, found)))
        else:
            self.forget(key)
