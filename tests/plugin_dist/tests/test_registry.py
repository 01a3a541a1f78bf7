import json
import tempfile

import testtools
from imageapi_sqlite import database
from imageapi_sqlite.registry import SQLiteRegistry

from imageapi import document
from imageapi.image import Image
from imageapi.testing.list_suite import ListSuite
from imageapi.testing.registry_suite import RegistrySuite
from imageapi.testing.suite import build


class TestSQLiteRegistry(ListSuite, RegistrySuite, testtools.TestCase):
    def make_registry(self) -> SQLiteRegistry:
        self.path = self.enterContext(tempfile.TemporaryDirectory()) + "/images.db"
        database.create(self.path)
        return build(SQLiteRegistry, database=self.path)

    def put(self, image: Image) -> None:
        database.put_record(self.path, image.id, json.dumps(document.record(image)))

    def remove(self, image_id: str) -> None:
        database.remove_record(self.path, image_id)

    def put_malformed(self, image_id: str) -> None:
        database.put_record(self.path, image_id, "{")

    def make_unreachable(self) -> SQLiteRegistry:
        return build(SQLiteRegistry, database=self.path + ".absent")
