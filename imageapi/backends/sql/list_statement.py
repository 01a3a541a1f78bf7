# SPDX-License-Identifier: Apache-2.0
"""A list's query -> the statement for a page of it."""

from collections.abc import Callable, Iterator, Mapping
from operator import eq, ge, gt, le, lt
from typing import Any

from sqlalchemy import (
    ColumnElement,
    LargeBinary,
    Select,
    and_,
    cast,
    collate,
    false,
    or_,
    select,
    true,
    type_coerce,
)

from imageapi.backends.listing import GONE, ListQuery
from imageapi.backends.sql.schema import MEMBERS, PROPERTIES, AsGiven, Schema
from imageapi.protocol.value_text import in_utc

# How many rows a statement returns at most.
_LARGEST_BATCH = 1000

# Of the columns.  Each record is compared again with what the client has given.
_LARGEST_NUMBER = 2**63 - 1

_TEXTS = frozenset({"name", "status", "container_format", "disk_format", "id"})


class ListStatement:
    """The statements of one list.

    :ivar size: how many rows a page has.
    """

    def __init__(self, schema: Schema, dialect: str, query: ListQuery) -> None:
        self._schema, self._dialect, self._query = schema, dialect, query
        self._images = schema.images.c
        # One more than the client gets shows whether there is another page.
        self.size = min(query.limit + 1, _LARGEST_BATCH)

    def page(self, after: Mapping[str, Any] | None) -> Select[Any]:
        """Select a page.

        :param after: the row after which it begins; None for the first page.
        """
        conditions = self._conditions()
        if after is not None:
            conditions.append(self._is_after(after))
        order = [one.desc() if self._query.descending else one.asc() for one in self._order()]
        return select(*self._images).where(*conditions).order_by(*order).limit(self.size)

    def _order(self) -> list[ColumnElement[Any]]:
        key = self._query.sort_key
        columns = []
        if key not in ("created_at", "id"):
            columns += [self._images[key].is_not(None), self._sortable(key)]
        if key != "id":
            columns.append(self._images.created_at)
        return [*columns, self._sortable("id")]

    def _sortable(self, name: str) -> ColumnElement[Any]:
        """Return a column as it is sorted: texts by code point, not by a language's rules."""
        if name not in _TEXTS or self._dialect == "sqlite":
            return self._images[name]
        if self._dialect == "postgresql":
            return collate(self._images[name], "C")
        return type_coerce(cast(self._images[name], LargeBinary), AsGiven())

    def _is_after(self, row: Mapping[str, Any]) -> ColumnElement[bool]:
        key = self._query.sort_key
        by_id = self._beyond(self._sortable("id"), row["id"])
        if key == "id":
            return by_id
        created = self._images.created_at
        by_time = or_(
            self._beyond(created, row["created_at"]),
            and_(created == row["created_at"], by_id),
        )
        if key == "created_at":
            # The first condition is one for which the database uses its index.
            return and_(self._not_before(created, row["created_at"]), by_time)
        column, sortable = self._images[key], self._sortable(key)
        if row[key] is None:
            return or_(
                column.is_not(None) if not self._query.descending else false(),
                and_(column.is_(None), by_time),
            )
        beyond = self._beyond(sortable, row[key])
        if self._query.descending:
            beyond = or_(beyond, column.is_(None))
        return or_(beyond, and_(sortable == row[key], by_time))

    def _beyond(self, column: ColumnElement[Any], value: Any) -> ColumnElement[bool]:
        compare: Callable[[Any, Any], ColumnElement[bool]] = lt if self._query.descending else gt
        return compare(column, value)

    def _not_before(self, column: ColumnElement[Any], value: Any) -> ColumnElement[bool]:
        compare: Callable[[Any, Any], ColumnElement[bool]] = le if self._query.descending else ge
        return compare(column, value)

    def _conditions(self) -> list[ColumnElement[bool]]:
        query, images = self._query, self._images
        texts = [
            or_(false(), *(self._equal(images[name], text) for text in texts))
            for name, texts in query.texts.items()
        ]
        numbers = [
            images[name] == min(number, _LARGEST_NUMBER) for name, number in query.numbers.items()
        ]
        properties = [self._has_property(name, text) for name, text in query.properties.items()]
        return [*self._who_and_when(), *self._bounds(), *texts, *numbers, *properties]

    def _who_and_when(self) -> Iterator[ColumnElement[bool]]:
        query, images = self._query, self._images
        if not query.shows_deleted:
            yield images.deleted == false()
            yield images.status.not_in(sorted(GONE))
        if not query.all_projects:
            yield self._is_listed()
        if query.shared_with is not None:
            yield and_(self._is_shared, self._has_member(query.shared_with))
        if query.is_public is not None:
            yield self._is_public if query.is_public else ~self._is_public
        if query.changed_after is not None:
            yield images.updated_at > time_text(query.changed_after)

    def _bounds(self) -> Iterator[ColumnElement[bool]]:
        query, images = self._query, self._images
        if query.size_min is not None:
            yield images.size >= min(query.size_min, _LARGEST_NUMBER)
        if query.size_max is not None:
            yield images.size <= min(query.size_max, _LARGEST_NUMBER)
        if query.protected is not None:
            yield images.protected == (true() if query.protected else false())

    @property
    def _is_public(self) -> ColumnElement[bool]:
        if self._schema.has_visibility:
            return self._images.visibility == "public"
        return self._images.is_public == true()

    @property
    def _is_shared(self) -> ColumnElement[bool]:
        if self._schema.has_visibility:
            return self._images.visibility == "shared"
        return self._images.is_public == false()

    def _is_listed(self) -> ColumnElement[bool]:
        """Whether a project's list has an image, as Glance decides it.

        An image of a community, or without an owner, is for those who know its id.  A member's
        list has what the member has accepted.
        """
        project = self._query.project_id
        conditions = [self._is_public]
        if project is not None:
            accepted = self._has_member(project, MEMBERS.c.status == "accepted")
            conditions.append(self._equal(self._images.owner, project))
            conditions.append(and_(self._is_shared, accepted))
        listed = or_(*conditions)
        if "os_hidden" in self._schema.names:
            listed = and_(self._images.os_hidden == false(), listed)
        return listed

    def _has_member(self, project: str, *more: ColumnElement[bool]) -> ColumnElement[bool]:
        members = select(MEMBERS.c.image_id).where(
            self._equal(MEMBERS.c.member, project), MEMBERS.c.deleted == false(), *more
        )
        return self._images.id.in_(members)

    def _has_property(self, name: str, text: str) -> ColumnElement[bool]:
        named = self._equal(PROPERTIES.c.name, name)
        with_text = select(PROPERTIES.c.image_id).where(
            named, self._equal(PROPERTIES.c.value, text), PROPERTIES.c.deleted == false()
        )
        return self._images.id.in_(with_text)

    def _equal(self, column: Any, text: str) -> ColumnElement[bool]:
        """Whether a column has a text.

        The tables of MySQL and MariaDB have no characters beyond U+FFFF, and PostgreSQL has no
        NUL.  Such a text would be an error of the whole query.
        """
        largest = "\uffff" if self._dialect in ("mysql", "mariadb") else "\U0010ffff"
        if any(one > largest or one == "\0" or "\ud800" <= one <= "\udfff" for one in text):
            return false()
        compare: Callable[[Any, Any], ColumnElement[bool]] = eq
        return compare(column, text)


def time_text(value: Any) -> str:
    """Return a time as the databases write it, and as SQLite compares it."""
    return in_utc(value).isoformat(" ", "microseconds")
