"""Records as JSON documents in the rows of a table."""

from imageapi import document
from imageapi.backends.base import RegistryBackend
from imageapi.caller import Caller
from imageapi.errors import ImageNotFound
from imageapi.image import Image
from imageapi_sqlite.database import InDatabase, count_of, row_of


class SQLiteRegistry(InDatabase, RegistryBackend):
    def get(self, image_id: str, caller: Caller) -> Image:
        row = row_of(self._path, "SELECT document FROM records WHERE image_id = ?", image_id)
        if row is None:
            raise ImageNotFound("no such record")
        return document.parse(row[0].encode(), image_id)

    def check(self) -> str:
        return count_of(self._path, "records")
