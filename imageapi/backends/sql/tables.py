# SPDX-License-Identifier: Apache-2.0
"""Reads the tables of a database whose schema is found out once."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import Executable, inspect
from sqlalchemy.engine import Row

from imageapi.backends.sql.database import Database
from imageapi.backends.sql.driver_query import DriverQuery
from imageapi.backends.sql.rows import ImageRows, rows_of_record
from imageapi.backends.sql.schema import Schema
from imageapi.errors import BackendUnavailable

_TABLES = {"images", "image_properties", "image_locations", "image_members"}
_HOW_TO_MAKE = "make the tables with glance-manage db sync"

# Of the column.  PostgreSQL refuses some longer or other texts, and MariaDB finds wrong ones.
_LONGEST_ID = 36


class _Found(NamedTuple):
    schema: Schema
    record: DriverQuery


class Tables:
    """A database with Glance's tables; thread-safe."""

    def __init__(self, database: Database) -> None:
        """:param database: is closed by its owner."""
        self.database = database
        self._found: _Found | None = None

    def schema(self) -> Schema:
        """Return which columns there are.

        :raises BackendUnavailable: the database does not answer, or has no such table.
        """
        return self._known().schema

    def _known(self) -> _Found:
        found = self._found
        if found is None:
            # Two threads may find it out at the same time, with the same result.
            schema = Schema(self._columns())
            found = self._found = _Found(schema, self.database.driver_query(schema.record))
        return found

    def _columns(self) -> Sequence[str]:
        with self.database.connected() as connection:
            columns = [one["name"] for one in inspect(connection).get_columns("images")]
        if "id" not in columns or not {"visibility", "is_public"} & set(columns):
            raise BackendUnavailable(f"the database has no table of Glance's: {_HOW_TO_MAKE}")
        return columns

    def record(self, image_id: str) -> ImageRows | None:
        """Return the rows of one image; None if there is no such image.

        :raises BackendUnavailable: the database does not answer, or refuses the query.
        """
        if len(image_id) > _LONGEST_ID or not image_id.isascii():
            return None
        schema, query = self._known()
        with self._schema_may_be_old():
            rows = self.database.read_directly(query, {"image_id": image_id})
        return rows_of_record(schema, rows, image_id)

    def read(self, statement: Executable, values: Mapping[str, Any]) -> Sequence[Row[Any]]:
        """Return the rows of a query.

        :raises BackendUnavailable: the database does not answer, or refuses the query.
        """
        with self._schema_may_be_old():
            return self.database.read(statement, values)

    @contextmanager
    def _schema_may_be_old(self) -> Iterator[None]:
        """Find the schema out again after an error: Glance may have been upgraded."""
        try:
            yield
        except BackendUnavailable:
            self._found = None
            raise

    def check(self) -> None:
        """Read from each table.

        :raises BackendUnavailable: one of them cannot be read.
        """
        self._found = None
        with self.database.connected() as connection:
            missing = _TABLES - set(inspect(connection).get_table_names())
        if missing:
            names = ", ".join(sorted(missing))
            raise BackendUnavailable(f"the database has no table {names}: {_HOW_TO_MAKE}")
        self.record("")
        self.read(self.schema().children, {"image_ids": [""]})
