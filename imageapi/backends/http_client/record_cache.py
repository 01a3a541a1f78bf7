# SPDX-License-Identifier: Apache-2.0
"""A cache of parsed records with their ETags and ages."""

import math
import time
from collections.abc import Hashable
from typing import NamedTuple

from imageapi.bounded_cache import BoundedCache
from imageapi.errors import MalformedImage
from imageapi.image import Image, weight_of

# The limit, by an estimate of the memory of all entries.
_REMEMBERED_BYTES = 8 * 1024 * 1024

#: The result of parsing a record.
Found = Image | MalformedImage


class CachedRecord(NamedTuple):
    """The result of parsing a record, and what its response said.

    :ivar etag: empty if the record cannot be revalidated.
    :ivar asked: when the upstream was last asked, as `RecordCache.now`.
    """

    etag: str
    found: Found
    asked: float


class RecordCache(BoundedCache[Hashable, CachedRecord]):
    """The cached records: bounded in memory, safe in threads.

    A record is *fresh* for some seconds after the upstream was asked.  Later, it is only
    good for a request with ``If-None-Match``.
    """

    def __init__(self, ttl: float = 0) -> None:
        """Create an empty cache.

        :param ttl: for how many seconds a record is fresh; with 0 it never is.
        """
        super().__init__(_REMEMBERED_BYTES)
        self._ttl = ttl

    def now(self) -> float:
        """Return the time in seconds.  Read it before the upstream is asked."""
        return time.monotonic()

    def fresh(self, key: Hashable) -> Found | None:
        """Return a record, or its error, if it need not be revalidated; else None."""
        if not self._ttl:
            return None
        known = self.get(key)
        if known is None or self.now() - known.asked >= self._ttl:
            return None
        return known.found

    def known(self, key: Hashable) -> CachedRecord | None:
        """Return a record that can be revalidated by its ETag, fresh or not; else None."""
        known = self.get(key)
        return known if known is not None and known.etag else None

    def replace(self, key: Hashable, etag: str, found: Found, asked: float) -> None:
        """Cache a record, or its error, in place of an older entry.

        :param etag: empty if the record cannot be revalidated by it; then it is cached
            only while it is fresh.
        :param asked: the value of `now` before the request.
        """
        if not etag and not self._ttl:
            self.forget(key)
        elif not self._has_newer(key, asked):
            self.put(key, CachedRecord(etag, found, asked), weight_of((key, etag, found)))

    def renew(self, key: Hashable, known: CachedRecord, asked: float) -> None:
        """Make a record fresh again, because the upstream says that it is unchanged.

        :param asked: the value of `now` before the request.
        """
        if self._ttl:
            self.replace(key, known.etag, known.found, asked)

    def expire(self, key: Hashable) -> None:
        """Let a record be revalidated before it is used, because the upstream denied it."""
        if self.fresh(key) is not None:
            known = self.known(key)
            self.forget(key)
            if known is not None:
                self.replace(key, known.etag, known.found, -math.inf)

    def _has_newer(self, key: Hashable, asked: float) -> bool:
        """Whether a request that began later has already ended.

        Otherwise a slow response would bring the older record back for some seconds.
        """
        known = self.get(key) if self._ttl else None
        return known is not None and known.asked > asked
