# SPDX-License-Identifier: Apache-2.0
"""A real MariaDB, which a test may kill, freeze and start again."""

import getpass
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

FOLDER = ENVIRONMENTS / "mariadb" / "usr"


class MariaDB(DatabaseServer):
    """A MariaDB 10.11. Its administrator root needs no password."""

    dialect = "mysql+pymysql"
    stop_signal = signal.SIGTERM

    def __init__(self, folder: Path) -> None:
        # Those that the machine may lack are unpacked beside the server.
        libraries = ":".join(map(str, FOLDER.glob("lib/*-linux-gnu*")))
        super().__init__(folder, {"LD_LIBRARY_PATH": libraries})
        self._data = folder / "data"
        command = [str(FOLDER / "bin" / "mariadb-install-db"), "--no-defaults", *self._options()]
        command += [f"--basedir={FOLDER}", "--auth-root-authentication-method=normal"]
        self._run([*command, "--skip-test-db"])

    def _command(self) -> list[str]:
        options = ["--socket=socket", "--pid-file=pid", "--bind-address=127.0.0.1"]
        options += [f"--port={self.port}", "--skip-name-resolve"]
        # As Debian configures it.
        options += ["--character-set-server=utf8mb4"]
        # The data need not survive a crash of the machine, only one of the server.
        options += ["--innodb-flush-log-at-trx-commit=2", "--innodb-flush-method=nosync"]
        options += ["--debug-no-sync"]
        options += [f"--lc-messages-dir={FOLDER}/share/mysql"]
        server = str(FOLDER / "sbin" / "mariadbd")
        return [server, "--no-defaults", *self._options(), *options]

    def _options(self) -> list[str]:
        return [f"--datadir={self._data}", f"--user={getpass.getuser()}"]

    def execute(self, statements: str, database: str = "") -> str:
        client = [str(FOLDER / "bin" / "mariadb"), "--no-defaults", "--batch"]
        client += ["--skip-column-names", "--host=127.0.0.1", f"--port={self.port}"]
        return self._run([*client, "--user=root", database or "mysql"], statements)

    def create_database(self, name: str) -> str:
        self.execute(
            f"CREATE USER IF NOT EXISTS {OWNER} IDENTIFIED BY '{OWNER_PASSWORD}';"
            f"CREATE DATABASE {name}; GRANT ALL ON {name}.* TO {OWNER};"
        )
        return self.url(name)

    def create_reader(self, database: str) -> str:
        self.execute(
            f"CREATE USER IF NOT EXISTS {READER} IDENTIFIED BY '{READER_PASSWORD}';"
            + "".join(f"GRANT SELECT ON {database}.{table} TO {READER};" for table in READABLE)
        )
        return self.url(database, READER, READER_PASSWORD)
