# SPDX-License-Identifier: Apache-2.0
"""What lists need of each record in a container, as new as the container's listing.

Each list asks Swift for the listing, and reads the records whose hashes are new in it.
"""

import copy
import logging
import time
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from imageapi.backends.index_lock import IndexLock
from imageapi.backends.listing import ListQuery
from imageapi.backends.listing_index import ListEntry, ListIndex, entry_of
from imageapi.backends.swift.records import NEWEST, ReadRecord, SwiftRecords
from imageapi.backends.swift.workers import Workers
from imageapi.bounded_cache import BoundedCache
from imageapi.errors import BackendError, ImageNotFound, MalformedImage

LOG = logging.getLogger(__name__)

# How many records are read before their entries get into the index.  If Swift fails
# later, these are not read again.
_AT_ONCE = 256

_LOGGED_NOTES = 10_000


class _Indexed(NamedTuple):
    """What was read of a record.

    :ivar content_hash: empty if the record must be read again for the next list.
    :ivar entry: None if there is no record, or a malformed one.
    """

    image_id: str
    content_hash: str
    entry: ListEntry | None


class RecordIndex:
    """The entries of a container's records.  Thread-safe."""

    def __init__(self, records: SwiftRecords, workers: Workers) -> None:
        self._records = records
        self._workers = workers
        self._index = ListIndex()
        # By id, of the records that need not be read again.
        self._hashes: dict[str, str] = {}
        self._logged: BoundedCache[tuple[str, str], bool] = BoundedCache(_LOGGED_NOTES)
        self._lock = IndexLock()
        self._began = 0.0
        self._failure: BackendError | None = None

    def select(self, query: ListQuery) -> Iterator[ListEntry]:
        """Return the entries that a query describes, in its order, as `ListIndex.select`.

        :raises BackendUnavailable, BadReply: Swift does not return a listing or a record.
        """
        self._refresh()
        return self._index.select(query)

    def forget(self, image_id: str) -> None:
        """Read a record again for the next list, whatever the listing says."""
        self._hashes.pop(image_id, None)

    def warn(self, image_id: str, version: str, error: MalformedImage) -> None:
        """Log that lists leave a record out; once for each version of it."""
        if self._logged.get((image_id, version)) is None:
            self._logged.put((image_id, version), True)
            LOG.warning("image %r is left out of lists: %s", image_id, error)

    def clear(self) -> None:
        """Forget all records."""
        with self._lock:
            self._hashes.clear()
            self._index.clear()

    def _refresh(self) -> None:
        asked = time.monotonic()
        with self._lock:
            if self._began >= asked:
                # Another thread began later than this one asked: its result is new enough.
                if self._failure is not None:
                    raise copy.copy(self._failure)
                return
            self._began = time.monotonic()
            self._failure = None
            try:
                self._update()
                self._lock.has_index = True
            except BackendError as error:
                # A copy without the traceback, which would keep all local variables alive.
                self._failure = copy.copy(error)
                raise

    def _update(self) -> None:
        listed = dict(self._records.hashes())
        removed = [image_id for image_id in self._index.ids() if image_id not in listed]
        self._index.update((), removed)
        # A copy, because other threads forget some meanwhile.
        for image_id in list(self._hashes):
            if image_id not in listed:
                self.forget(image_id)
        new = (
            (image_id, content_hash)
            for image_id, content_hash in listed.items()
            if not content_hash or self._hashes.get(image_id) != content_hash
        )
        while some := list(islice(new, _AT_ONCE)):
            self._add(list(self._workers.each(self._read, some)))

    def _add(self, records: list[_Indexed]) -> None:
        absent = [one.image_id for one in records if one.entry is None]
        self._index.update((one.entry for one in records if one.entry is not None), absent)
        for one in records:
            if one.content_hash:
                self._hashes[one.image_id] = one.content_hash
            else:
                self.forget(one.image_id)

    def _read(self, listed: tuple[str, str]) -> _Indexed:
        """Read a record of the listing."""
        image_id, content_hash = listed
        try:
            record = self._newest(image_id, content_hash)
        except ImageNotFound:
            return _Indexed(image_id, "", None)
        except MalformedImage as error:
            self.warn(image_id, str(error), error)
            return _Indexed(image_id, "", None)
        # If they differ, the listing is older than the object, or the object is a manifest.
        settled = content_hash if record.content_hash == content_hash else ""
        if isinstance(record.found, MalformedImage):
            self.warn(image_id, record.etag, record.found)
            return _Indexed(image_id, settled, None)
        return _Indexed(image_id, settled, entry_of(record.found))

    def _newest(self, image_id: str, content_hash: str) -> ReadRecord:
        # Any copy with this hash will do; for the newest, Swift asks all replicas.
        record = self._records.read(image_id, {}) if content_hash else None
        if record is None or record.content_hash != content_hash:
            record = self._records.read(image_id, NEWEST)
        if record is None:
            raise AssertionError("a request without a condition has no status 304")
        return record
