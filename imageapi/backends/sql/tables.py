# SPDX-License-Identifier: Apache-2.0
"""Reads the tables of a database whose schema is found out once."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Executable, inspect
from sqlalchemy.engine import Row

from imageapi.backends.sql.database import Database
from imageapi.backends.sql.schema import Schema
from imageapi.errors import BackendUnavailable

_TABLES = {"images", "image_properties", "image_locations", "image_members"}
_HOW_TO_MAKE = "make the tables with glance-manage db sync"


class Tables:
    """A database with Glance's tables; thread-safe."""

    def __init__(self, database: Database) -> None:
        """:param database: is closed by its owner."""
        self.database = database
        self._schema: Schema | None = None

    def schema(self) -> Schema:
        """Return which columns there are.

        :raises BackendUnavailable: the database does not answer, or has no such table.
        """
        # Two threads may find it out at the same time, with the same result.
        if self._schema is None:
            self._schema = Schema(self._columns())
        return self._schema

    def _columns(self) -> Sequence[str]:
        with self.database.connected() as connection:
            columns = [one["name"] for one in inspect(connection).get_columns("images")]
        if "id" not in columns or not {"visibility", "is_public"} & set(columns):
            raise BackendUnavailable(f"the database has no table of Glance's: {_HOW_TO_MAKE}")
        return columns

    def read(self, statement: Executable, values: Mapping[str, Any]) -> Sequence[Row[Any]]:
        """Return the rows of a query.

        :raises BackendUnavailable: the database does not answer, or refuses the query.
        """
        try:
            return self.database.read(statement, values)
        except BackendUnavailable:
            # After an upgrade of Glance there may be other columns.
            self._schema = None
            raise

    def check(self) -> None:
        """Read from each table.

        :raises BackendUnavailable: one of them cannot be read.
        """
        self._schema = None
        with self.database.connected() as connection:
            missing = _TABLES - set(inspect(connection).get_table_names())
        if missing:
            names = ", ".join(sorted(missing))
            raise BackendUnavailable(f"the database has no table {names}: {_HOW_TO_MAKE}")
        schema = self.schema()
        self.read(schema.record, {"image_id": ""})
        self.read(schema.children, {"image_ids": [""]})
