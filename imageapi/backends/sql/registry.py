# SPDX-License-Identifier: Apache-2.0
"""Records in Glance's database: SQLite, PostgreSQL, MySQL or MariaDB."""

from collections.abc import Generator, Iterator, Sequence
from typing import NamedTuple

from oslo_config import cfg

from imageapi.backends.base import RegistryBackend
from imageapi.backends.listing import ListQuery
from imageapi.backends.sql import listing
from imageapi.backends.sql.access import may_get
from imageapi.backends.sql.database import Database
from imageapi.backends.sql.options import OPTIONS, Settings
from imageapi.backends.sql.rows import ImageRows
from imageapi.backends.sql.tables import Tables
from imageapi.backends.writing import RecordWriter
from imageapi.bounded_cache import BoundedCache
from imageapi.caller import Caller
from imageapi.errors import ImageNotFound
from imageapi.image import Image, weight_of

# The limit for records in memory, and what an entry takes besides its record.
_REMEMBERED_BYTES = 8 * 1024 * 1024
_ENTRY_BYTES = 600


class _Known(NamedTuple):
    """A record that was made of these rows."""

    rows: ImageRows
    image: Image


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
        self._known: BoundedCache[str, _Known] = BoundedCache(_REMEMBERED_BYTES)
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
        rows = tables.record(image_id)
        if rows is None or not may_get(rows, caller):
            raise ImageNotFound("no record")
        known = self._known.get(image_id)
        if known is not None and known.rows == rows:
            # The same object, whose headers are known too (imageapi.download.image_view).
            return known.image
        image = rows.image(self._encryption)
        # The rows have the same texts as the record.
        self._known.put(image_id, _Known(rows, image), _ENTRY_BYTES + 2 * weight_of(image))
        return image

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
