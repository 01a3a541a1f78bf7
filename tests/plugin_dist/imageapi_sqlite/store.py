"""Data in the rows of a table, under ``sqlite:`` URLs."""

from urllib.parse import quote, unquote

from imageapi.backends.base import Blob, StoreBackend
from imageapi.caller import Caller
from imageapi.errors import DataChanged, DataNotFound, LocationRefused
from imageapi.image import Location
from imageapi_sqlite.database import InDatabase, count_of, row_of

FILE = "SELECT version, size FROM files WHERE name = ?"
CHUNK = "SELECT start, data FROM chunks WHERE version = ? AND start <= ? ORDER BY start DESC"


class SQLiteStore(InDatabase, StoreBackend):
    schemes = frozenset({"sqlite"})

    def locate(self, image_id: str) -> Location:
        return Location("sqlite:" + quote(image_id, safe=""))

    def open(
        self,
        location: Location,
        *,
        start: int = 0,
        stop: int | None = None,
        version: str | None = None,
        caller: Caller,
    ) -> Blob:
        if location.scheme not in self.schemes:
            raise LocationRefused("not a sqlite: URL")
        try:
            row = row_of(self._path, FILE, unquote(location.url.partition(":")[2]))
        except UnicodeEncodeError:
            raise LocationRefused("not UTF-8") from None
        if row is None:
            raise DataNotFound("no such file")
        found, size = row
        if version is not None and version != found:
            raise DataChanged("another version")
        return SQLiteBlob(self._path, found, size, start, size if stop is None else min(stop, size))

    def check(self) -> str:
        return count_of(self._path, "files")


class SQLiteBlob(Blob):
    def __init__(self, path: str, version: str, size: int, start: int, stop: int) -> None:
        self.total_size = size
        self.version = version
        self._path = path
        self._position = start
        self._stop = stop

    def __next__(self) -> bytes:
        if self._position >= self._stop:
            raise StopIteration
        start, data = row_of(self._path, CHUNK, self.version, self._position) or (0, b"")
        part: bytes = data[self._position - start : self._stop - start]
        if not part:
            raise DataChanged("its rows are gone")
        self._position += len(part)
        return part

    def close(self) -> None:
        self._stop = 0
