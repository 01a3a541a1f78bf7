import itertools
import tempfile
from urllib.parse import unquote

import testtools
from imageapi_sqlite import database
from imageapi_sqlite.store import SQLiteStore

from imageapi.image import Location
from imageapi.testing.store_suite import StoreSuite
from imageapi.testing.suite import build


class TestSQLiteStore(StoreSuite, testtools.TestCase):
    def make_store(self) -> SQLiteStore:
        self.path = self.enterContext(tempfile.TemporaryDirectory()) + "/images.db"
        self.names = map(str, itertools.count())
        database.create(self.path)
        return build(SQLiteStore, database=self.path)

    def put(self, data: bytes) -> Location:
        location = self.store.locate(next(self.names))
        self.replace(location, data)
        return location

    def replace(self, location: Location, data: bytes) -> None:
        database.put_file(self.path, name_of(location), data, self.chunk_size)

    def put_at(self, location: Location, data: bytes) -> None:
        self.replace(location, data)

    def forbidden(self) -> None:
        return None  # A name in a table leads nowhere else.

    def damage(self, location: Location) -> None:
        database.damage_file(self.path, name_of(location))

    def remove(self, location: Location) -> None:
        database.remove_file(self.path, name_of(location))

    def make_unreachable(self) -> tuple[SQLiteStore, Location]:
        store = build(SQLiteStore, database=self.path + ".absent")
        return store, store.locate("any")


def name_of(location: Location) -> str:
    return unquote(location.url.removeprefix("sqlite:"))
