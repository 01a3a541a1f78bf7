# SPDX-License-Identifier: Apache-2.0
"""Remembers of each record what lists need, so that a list reads only the records it yields."""

import sys
import threading
from bisect import bisect_left, bisect_right
from collections.abc import (
    Callable,
    Collection,
    Container,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from types import MappingProxyType
from typing import Any, cast

from imageapi.backends.listing import ListQuery, Position
from imageapi.image import Image
from imageapi.protocol.value_text import in_utc, text_of

# How many images are read at once, so that memory stays bounded.
_MOST_AT_ONCE = 100

# Above this share of changed entries, a new sort costs less than single changes.
_FEW = 1 / 50


def _packed_hash(value: object) -> bytes:
    return (hash(value) & 0xFFFFFFFF).to_bytes(4)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListEntry:
    """The values of an image by which lists are ordered and filtered.

    It has the same names as `Image`, so that a `ListQuery` can read it.

    :ivar created_at, updated_at: in UTC, without a zone.
    :ivar members: contains each member, and perhaps others.
    :ivar properties: contains each pair of a name and a text, and perhaps others.
    """

    id: str
    name: str | None
    status: str
    disk_format: str | None
    container_format: str | None
    size: int | None
    created_at: datetime | None
    updated_at: datetime | None
    is_public: bool
    protected: bool
    deleted: bool
    min_ram: int
    min_disk: int
    owner: str | None
    members: Container[object]
    properties: Container[object]


class Hashes(Container[object]):
    """The hashes of some values, in four bytes each.

    It may seem to contain other values, with the same hash or between two hashes.
    """

    __slots__ = ("_packed",)

    def __init__(self, values: Iterable[object]) -> None:
        self._packed = b"".join(map(_packed_hash, values))

    def __contains__(self, value: object) -> bool:
        return _packed_hash(value) in self._packed

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hashes) and self._packed == other._packed

    def __hash__(self) -> int:
        return hash(self._packed)


_NOTHING = Hashes(())


def entry_of(image: Image) -> ListEntry:
    """Return the entry of an image; it shares no memory with the image but for its texts."""
    created, updated = _utc(image.created_at), _utc(image.updated_at)
    texts = ((name, text_of(value)) for name, value in sorted(image.properties.items()))
    return ListEntry(
        id=image.id,
        name=image.name,
        status=sys.intern(image.status),
        disk_format=_shared(image.disk_format),
        container_format=_shared(image.container_format),
        size=image.size,
        created_at=created,
        updated_at=created if updated == created else updated,
        is_public=image.is_public,
        protected=image.protected,
        deleted=image.deleted,
        min_ram=image.min_ram,
        min_disk=image.min_disk,
        owner=_shared(image.owner),
        members=Hashes(sorted(image.members)) if image.members else _NOTHING,
        properties=Hashes(texts) if image.properties else _NOTHING,
    )


class ListIndex:
    """The entries of all records, in each order that a list has asked for.

    Thread-safe.  A list that has begun goes on with the entries that it began with.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[str, ListEntry] = {}
        # Ascending, by sort key.  A list in here is replaced, and never changed.
        self._orders: dict[str, list[ListEntry]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def ids(self) -> list[str]:
        """Return the ids of all entries, in any order."""
        with self._lock:
            return list(self._entries)

    def update(self, entries: Iterable[ListEntry], removed: Iterable[str] = ()) -> None:
        """Add entries, or replace those with the same ids; remove others.

        :param removed: ids, which need not be known.
        """
        with self._lock:
            known = self._entries
            added = {entry.id: entry for entry in entries if known.get(entry.id) != entry}
            old = [known.pop(one) for one in {*added, *removed} if one in known]
            known.update(added)
            if len(old) + len(added) > len(known) * _FEW:
                self._orders.clear()
            for sort_key, order in self._orders.items():
                self._orders[sort_key] = _changed(order, sort_key, old, added.values())

    def clear(self) -> None:
        """Remove all entries."""
        with self._lock:
            self._entries.clear()
            self._orders.clear()

    def select(self, query: ListQuery) -> Iterator[ListEntry]:
        """Return the entries of the images that a query describes, in its order.

        A few may not belong to the list, since members and properties are compared by
        their hashes, and the record may have changed.  `images_of` leaves these out.
        """
        order = self._order(query.sort_key)
        position = _position(query.sort_key)
        begin, end, step = 0, len(order), 1
        if query.descending:
            begin, end, step = len(order) - 1, -1, -1
        if query.after is not None:
            after = query.position(query.after)
            if query.descending:
                begin = bisect_left(order, after, key=position) - 1
            else:
                begin = bisect_right(order, after, key=position)
        return filter(_matching(query), (order[index] for index in range(begin, end, step)))

    def _order(self, sort_key: str) -> list[ListEntry]:
        with self._lock:
            order = self._orders.get(sort_key)
            if order is None:
                order = sorted(self._entries.values(), key=_position(sort_key))
                self._orders[sort_key] = order
            return order


def images_of(
    entries: Iterator[ListEntry],
    query: ListQuery,
    read: Callable[[Sequence[ListEntry]], Iterable[Image | None]],
) -> Generator[Image, None, None]:
    """Yield the images of entries as they are now, in the order of the query.

    An image that was changed since its entry was made is yielded where it belongs now, or
    left out if the list is already past that place.

    :param entries: as returned by `ListIndex.select`.
    :param read: returns the images of some entries; None for each that is to be left out.
    """
    matches = query.matching()
    waiting: list[Image] = []
    while some := list(islice(entries, min(max(query.limit, 1), _MOST_AT_ONCE))):
        waiting += (image for image in read(some) if image is not None and matches(image))
        waiting.sort(key=query.position, reverse=query.descending)
        beyond = replace(query, after=cast("Image", some[-1]))
        due = [image for image in waiting if not beyond.is_after(query.position(image))]
        waiting = waiting[len(due) :]
        for image in due:
            if query.is_after(query.position(image)):
                yield image
                query = replace(query, after=image)
    yield from waiting


def _changed(
    order: list[ListEntry],
    sort_key: str,
    old: Collection[ListEntry],
    new: Collection[ListEntry],
) -> list[ListEntry]:
    """Return an order without the old entries and with the new ones."""
    position = _position(sort_key)
    order = order.copy()
    for entry in old:
        del order[bisect_left(order, position(entry), key=position)]
    for entry in new:
        order.insert(bisect_left(order, position(entry), key=position), entry)
    return order


def _position(sort_key: str) -> Callable[[ListEntry], Position]:
    # An entry has every attribute that this reads.
    return cast("Callable[[Any], Position]", ListQuery(sort_key=sort_key).position)


_NO_PROPERTIES: Mapping[str, str] = MappingProxyType({})


def _matching(query: ListQuery) -> Callable[[ListEntry], bool]:
    others = replace(query, properties=_NO_PROPERTIES).matching()
    matches = cast("Callable[[Any], bool]", others)
    pairs = list(query.properties.items())
    if not pairs:
        return matches
    return lambda entry: all(pair in entry.properties for pair in pairs) and matches(entry)


def _utc(time: datetime | None) -> datetime | None:
    return None if time is None else in_utc(time)


def _shared(text: str | None) -> str | None:
    """Return the text as an object that equal texts share."""
    return None if text is None else sys.intern(text)
