# SPDX-License-Identifier: Apache-2.0
"""The lists of a Glance or of another imageapi, page by page and in the query's order.

The upstream sorts and pages.  A Glance loses and repeats images whose value of the sort
key is missing: where they stand depends on its database, and a page that begins after
one of them begins at the wrong place.  So a page never begins after such an image.
They come from a walk by ``created_at``, which no image lacks, unless one page shows all.
"""

from collections.abc import Generator, Iterable

from imageapi.backends.http.list_pages import LARGEST_PAGE, Entry, Page, PageReader
from imageapi.backends.listing import ListQuery
from imageapi.errors import BadReply

_NEVER_MISSING = frozenset({"id", "status", "created_at", "updated_at"})

# The conditions that no image without a value of the sort key meets.
_EXCLUDES_MISSING = {"size": ("size_min", "size_max")}

Entries = Generator[Entry, None, None]


def entries_of(reader: PageReader, query: ListQuery) -> Entries:
    """Yield what the upstream lists, in the query's order, after the query's `after`.

    :raises BackendUnavailable: the upstream is unreachable for now.
    :raises BadReply: its response is invalid.
    """
    key, after = query.sort_key, query.after
    after_id = None if after is None else after.id
    excluding = _EXCLUDES_MISSING.get(key, (key,))
    if key in _NEVER_MISSING or not reader.asked.isdisjoint(excluding):
        yield from _walk(reader, key, after_id)
        return
    order = _Order(reader, query)
    after_value = None if after is None else getattr(after, key)
    if after is not None and after_value is None:
        yield from order.after_missing(after.id)
    elif query.descending:
        yield from order.descending(after_id, after_value)
    elif after_id is None:
        yield from order.ascending()
    else:
        yield from order.with_value(reader.page(key, after_id))


def _walk(reader: PageReader, key: str, marker: str | None) -> Entries:
    """Yield the entries by a sort key that no image lacks."""
    while True:
        page = reader.page(key, marker)
        yield from page.entries
        if page.is_last:
            return
        marker = page.last_id


class _Order:
    """The order by a sort key that an image can lack."""

    def __init__(self, reader: PageReader, query: ListQuery) -> None:
        self._reader = reader
        self._key = query.sort_key
        self._descending = query.descending

    def ascending(self) -> Entries:
        """Yield the whole list: first the entries without a value."""
        page = self._reader.page(self._key, None)
        missing = list(_missing(page.entries))
        # If an entry with a value follows, all without one are before it.
        ends_here = page.is_last or (
            page.entries[0].value is None and page.entries[-1].value is not None
        )
        if ends_here:
            yield from missing
        elif missing or self._ends_with_missing():
            yield from self._missing_after(None)
        yield from self.with_value(page)

    def descending(self, marker: str | None, value: object) -> Entries:
        """Yield the list after an entry with a value: last the entries without one."""
        last = yield from self.with_value(self._reader.page(self._key, marker), value)
        if last is None:
            yield from self._missing_after(None)
        else:
            yield from _missing(last.entries)

    def after_missing(self, marker: str) -> Entries:
        """Yield the list after an entry without a value."""
        yield from self._missing_after(marker)
        if not self._descending:
            yield from self.with_value(self._reader.page(self._key, None))

    def with_value(self, page: Page, after: object = None) -> Generator[Entry, None, Page | None]:
        """Yield the entries with a value, from a page to the end of the list.

        :param after: the value after which the page begins; None for the first page.
        :returns: the last page, if it contains every entry without a value.
        """
        while True:
            marker = page.marker
            having = [entry for entry in page.entries if entry.value is not None]
            yield from having
            if page.is_last:
                return None if _is_lowest(after) else page
            if having:
                marker, after = having[-1].id, having[-1].value
            elif page.limit < self._reader.largest:
                # If the entries without a value come first here, look behind them.
                self._reader.limit = self._reader.largest
            elif self._ends_with_missing():
                return None
            elif page.limit < LARGEST_PAGE:
                # They come first, and are large.
                self._reader.limit = LARGEST_PAGE
            else:
                raise BadReply(
                    f"{self._reader.shown} sorts {len(page.entries)} images without a {self._key}"
                    " first, and does not show the others; sort by another key"
                )
            page = self._reader.page(self._key, marker)

    def _missing_after(self, marker: str | None) -> Entries:
        """Yield the entries without a value, by created_at."""
        self._reader.limit = self._reader.largest
        yield from _missing(_walk(self._reader, "created_at", marker))

    def _ends_with_missing(self) -> bool:
        """Whether the last entry of the whole list has no value."""
        return any(_missing(self._reader.last(self._key).entries))


def _missing(entries: Iterable[Entry]) -> Iterable[Entry]:
    return (entry for entry in entries if entry.value is None)


def _is_lowest(value: object) -> bool:
    """Whether Glance takes a missing value for this one, so that a page may not show all."""
    return value == 0 or (isinstance(value, str) and not value.strip())
