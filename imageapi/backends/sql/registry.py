# SPDX-License-Identifier: Apache-2.0
"""Records in Glance's database: SQLite, PostgreSQL, MySQL or MariaDB."""

from collections.abc import Generator, Iterator, Sequence

from oslo_config import cfg

from imageapi.backends.base import RegistryBackend
from imageapi.backends.listing import ListQuery
from imageapi.backends.sql import listing
from imageapi.backends.sql.access import may_get
from imageapi.backends.sql.database import Database
from imageapi.backends.sql.options import OPTIONS, Settings
from imageapi.backends.sql.rows import ImageRows, rows_of_record
from imageapi.backends.sql.tables import Tables
from imageapi.backends.writing import RecordWriter
from imageapi.caller import Caller
from imageapi.errors import ImageNotFound
from imageapi.image import Image

# Of the column.  PostgreSQL refuses some longer or other texts, and MariaDB finds wrong ones.
_LONGEST_ID = 36


class SQLRegistry(RegistryBackend):
    """Reads the tables of Glance.  Glance, or a command, writes them."""

    decides_visibility = True
    can_list = True

    @classmethod
    def options(cls) -> Sequence[cfg.Opt]:
        return OPTIONS

    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        settings = Settings.of(conf, group)
        self._encryption = settings.encryption
        self._tables = Tables(Database(settings.url, settings))
        self._replica = (
            self._tables
            if settings.replica is None
            else Tables(Database(settings.replica, settings))
        )

    def get(self, image_id: str, caller: Caller) -> Image:
        return self._get(self._replica, image_id, caller)

    def get_newest(self, image_id: str, caller: Caller) -> Image:
        return self._get(self._tables, image_id, caller)

    def _get(self, tables: Tables, image_id: str, caller: Caller) -> Image:
        rows = _rows(tables, image_id)
        if rows is None or not may_get(rows, caller):
            raise ImageNotFound("no record")
        return rows.image(self._encryption)

    def list(self, query: ListQuery, caller: Caller) -> Generator[Image, None, None]:
        return listing.images(self._replica, query, self._encryption)

    def image_ids(self) -> Iterator[str]:
        return listing.image_ids(self._tables)

    def writer(self) -> RecordWriter:
        # Not above: only commands write.
        from imageapi.backends.sql.record_writer import SQLRecordWriter

        return SQLRecordWriter(self._tables, self._encryption)

    def check(self) -> str:
        for tables in {self._tables, self._replica}:
            tables.check()
        return f"database {self._tables.database.shown}"

    def close(self) -> None:
        for tables in {self._tables, self._replica}:
            tables.database.close()


def _rows(tables: Tables, image_id: str) -> ImageRows | None:
    if len(image_id) > _LONGEST_ID or not image_id.isascii():
        return None
    schema = tables.schema()
    return rows_of_record(schema, tables.read(schema.record, {"image_id": image_id}), image_id)
