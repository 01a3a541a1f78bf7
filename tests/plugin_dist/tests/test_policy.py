import tempfile

import testtools
from imageapi_sqlite import database
from imageapi_sqlite.policy import SQLitePolicy

from imageapi.caller import ANONYMOUS, Caller
from imageapi.policy.base import DOWNLOAD_IMAGE
from imageapi.testing.policy_suite import PolicySuite
from imageapi.testing.suite import build


class TestSQLitePolicy(PolicySuite, testtools.TestCase):
    # It allows GET_IMAGE without its database.
    asks_upstream = (DOWNLOAD_IMAGE,)

    def make_policy(self) -> SQLitePolicy:
        self.path = self.enterContext(tempfile.TemporaryDirectory()) + "/images.db"
        database.create(self.path)
        return build(SQLitePolicy, database=self.path)

    def make_unreachable(self) -> SQLitePolicy:
        return build(SQLitePolicy, database=self.path + ".absent")

    def test_only_granted_projects_download(self) -> None:
        database.grant(self.path, "i", "p1")
        for caller, allowed in [
            (Caller(project_id="p1"), True),
            (Caller(project_id="p2"), False),
            (ANONYMOUS, False),
        ]:
            self.assertIs(allowed, self.policy.allows(DOWNLOAD_IMAGE, caller, {"id": "i"}))
