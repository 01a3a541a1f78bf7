"""Only projects that were granted an image may download it."""

from collections.abc import Mapping

from imageapi.caller import Caller
from imageapi.policy.base import DOWNLOAD_IMAGE, GET_IMAGE, PolicyBackend
from imageapi_sqlite.database import InDatabase, count_of, row_of

GRANT = "SELECT 1 FROM grants WHERE image_id = ? AND project_id = ?"


class SQLitePolicy(InDatabase, PolicyBackend):
    def allows(self, action: str, caller: Caller, target: Mapping[str, object]) -> bool:
        if action == GET_IMAGE:
            return True
        if action != DOWNLOAD_IMAGE:
            return False
        return row_of(self._path, GRANT, target.get("id"), caller.project_id) is not None

    def check(self) -> str:
        return count_of(self._path, "grants")
