# SPDX-License-Identifier: Apache-2.0
"""An index of a folder's records, in memory, so that a list does not parse all of them.

The index only finds images.  Each is then looked up like any other, so no list shows an
old state of an image.
"""

import contextlib
import math
import os
import time
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import TypeAlias

from imageapi.backends.file.folder import file_name
from imageapi.backends.file.indexed_files import IndexedFiles
from imageapi.backends.file.listed_record import IndexedFile, ListedRecord
from imageapi.backends.index_lock import IndexLock
from imageapi.backends.listing import ListQuery, Position
from imageapi.errors import BackendError, ImageNotFound, MalformedImage
from imageapi.image import Image

#: Records in ascending order.  It is never changed, because other threads may read it.
Order: TypeAlias = Sequence[ListedRecord]

#: The old and the new state of a file; None for no file.
Change: TypeAlias = tuple[IndexedFile | None, IndexedFile | None]

# Sorting again is faster than moving more records than this.
_MOST_CHANGES = 200


class Index:
    """The records of a folder, in the orders of lists; thread-safe.

    :ivar process: the id of the process that may use the index.  In a forked process, a
        thread that does not exist there may hold the lock.
    """

    def __init__(self, directory: str) -> None:
        """Create an empty index.  The first list fills it."""
        self.process = os.getpid()
        self._lock = IndexLock()
        # Without a reference to this object, so that its memory is freed at once.
        self._changes: list[Change] = []
        self._files = IndexedFiles(directory, _collecting(self._changes))
        # By sort key.  The orders have all changes but those in `_changes`.
        self._orders: dict[str, list[ListedRecord]] = {}
        self._refreshed = -math.inf

    def list(self, query: ListQuery, get: Callable[[str], Image]) -> Generator[Image, None, None]:
        """Yield the images that a query describes, in its order.

        :param get: looks up an image by its id, as `RegistryBackend.get` does.
        :raises BackendUnavailable: the folder cannot be read for now.
        """
        matches = query.matching()
        place = None if query.after is None else query.position(query.after)
        order: Order | None = self._current(query.sort_key)
        while order is not None:
            candidates = _candidates(order, query, place)
            order = None
            for record in candidates:
                place = query.position(record)
                image = self._look_up(record, get)
                if image is None:
                    continue
                if query.position(image) != place:
                    # The file was changed in place.  Its image may come later in the list.
                    order = self._corrected(record, query.sort_key)
                    break
                if matches(image):
                    yield image

    def _look_up(self, record: ListedRecord, get: Callable[[str], Image]) -> Image | None:
        """Return the image of a record; None if it is gone, or unreadable by itself."""
        try:
            return get(record.id)
        except ImageNotFound:
            return None
        except BackendError as error:
            with self._lock:
                if not self._files.read_again(file_name(record.id)):
                    return None
            if not isinstance(error, MalformedImage):
                raise
        # The file was half written before.
        with contextlib.suppress(ImageNotFound, MalformedImage):
            return get(record.id)
        return None

    def _current(self, sort_key: str) -> Order:
        """Return all records that are in the folder now."""
        asked = time.monotonic()
        with self._lock:
            # Another thread may have brought the index up to date while this one waited.
            if self._refreshed <= asked:
                begun = time.monotonic()
                self._files.refresh()
                self._refreshed = begun
                self._lock.has_index = True
            return self._order(sort_key)

    def _corrected(self, record: ListedRecord, sort_key: str) -> Order:
        """Return all records after one of them was read again."""
        with self._lock:
            self._files.read_again(file_name(record.id))
            return self._order(sort_key)

    def _order(self, sort_key: str) -> Order:
        """Return all records of the index; the caller has the lock."""
        if len(self._changes) > _MOST_CHANGES:
            self._orders.clear()
        self._orders = {
            key: _changed(order, key, self._changes) for key, order in self._orders.items()
        }
        self._changes.clear()
        if "created_at" not in self._orders:
            records = [file for file in self._files if isinstance(file, ListedRecord)]
            records.sort(key=attrgetter("id"))
            self._orders["created_at"] = _sorted(records, "created_at")
        if sort_key not in self._orders:
            # Sorting is stable, so that equal values keep the order of created_at and id.
            self._orders[sort_key] = _sorted(self._orders["created_at"], sort_key)
        return self._orders[sort_key]


def _collecting(changes: list[Change]) -> Callable[[IndexedFile | None, IndexedFile | None], None]:
    def collect(old: IndexedFile | None, new: IndexedFile | None) -> None:
        # With more, the orders are made anew.
        if len(changes) <= _MOST_CHANGES:
            changes.append((old, new))

    return collect


def _sorted(records: Order, name: str) -> list[ListedRecord]:
    """Return the records by a field, as `ListQuery.position` orders them, only faster."""
    value = attrgetter(name)
    without = [record for record in records if value(record) is None]
    return without + sorted((record for record in records if value(record) is not None), key=value)


def _changed(
    order: list[ListedRecord],
    sort_key: str,
    changes: Sequence[Change],
) -> list[ListedRecord]:
    """Return an order with the changes."""
    if not changes:
        return order
    order = order.copy()
    position = ListQuery(sort_key=sort_key).position
    for old, new in changes:
        if isinstance(old, ListedRecord):
            del order[bisect_left(order, position(old), key=position)]
        if isinstance(new, ListedRecord):
            insort(order, new, key=position)
    return order


def _candidates(order: Order, query: ListQuery, place: Position | None) -> Iterator[ListedRecord]:
    """Return the records after a place that may be in the list, in the order of the query."""
    if query.descending:
        end = len(order) if place is None else bisect_left(order, place, key=query.position)
        numbers = range(end - 1, -1, -1)
    else:
        begin = 0 if place is None else bisect_right(order, place, key=query.position)
        numbers = range(begin, len(order))
    found: Iterator[ListedRecord] = map(order.__getitem__, numbers)
    for condition in replace(query, properties={}).conditions():
        found = filter(condition, found)
    if query.properties:
        pairs = tuple(query.properties.items())
        found = filter(lambda record: all(pair in record.properties for pair in pairs), found)
    return found
