# SPDX-License-Identifier: Apache-2.0
"""A real Glance over a given database, which believes the identity headers of its clients."""

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from tests.functional.http_client import Answer, connection
from tests.functional.openstack import ENVIRONMENTS, running_glance
from tests.functional.servers import free_port

GLANCE = ENVIRONMENTS / "glance"

CONFIG = """\
[DEFAULT]
log_file = {folder}/glance.log
enabled_backends = fast:file, slow:file
allow_anonymous_access = true
{options}
[glance_store]
default_backend = fast
[fast]
filesystem_store_datadir = {folder}/fast
[slow]
filesystem_store_datadir = {folder}/slow
[os_glance_staging_store]
filesystem_store_datadir = {folder}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {folder}/tasks
[database]
connection = {connection}
[oslo_concurrency]
lock_path = {folder}/locks
[paste_deploy]
flavor = keystone
config_file = {folder}/paste.ini
"""


class Person(NamedTuple):
    """A caller. One without roles is anonymous."""

    project: str
    roles: tuple[str, ...]

    def headers(self) -> dict[str, str]:
        """What Keystone's middleware would add to a request, with underscores in the names."""
        if not self.roles:
            return {}
        return {
            "X_Identity_Status": "Confirmed",
            "X_User_Id": f"user-of-{self.project}",
            "X_Project_Id": self.project,
            "X_Tenant_Id": self.project,
            "X_Roles": ",".join(self.roles),
        }


# Keystone adds the roles that a role implies.
PEOPLE = {
    "admin": Person("operations", ("admin", "manager", "member", "reader")),
    "owner": Person("images", ("member", "reader")),
    "reader": Person("images", ("reader",)),
    "member": Person("customers", ("member", "reader")),
    "stranger": Person("others", ("member", "reader")),
    "anonymous": Person("", ()),
}


class DatabaseGlance(NamedTuple):
    """A running Glance."""

    port: int
    folder: Path

    def ask(self, person: str, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Send a request as a person; returns the whole answer.

        :param path: below ``/v2``.
        :param body: JSON or bytes.
        :param headers: more of them, with underscores in the names.
        """
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        given = {"Content-Type": kind} | PEOPLE[person].headers() | headers
        sent = {name.replace("_", "-"): value for name, value in given.items()}
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        with connection(self.port) as client:
            client.request(method, f"/v2/{path}", data, sent)
            response = client.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())


@contextmanager
def glance_over(
    folder: Path,
    database_url: str,
    stores: Mapping[str, tuple[str, Mapping[str, object]]] = MappingProxyType({}),
    more_options: Sequence[str] = (),
    encryption_key: str = "",
) -> Iterator[DatabaseGlance]:
    """Run a Glance in an empty folder, over an empty database.

    :param database_url: for SQLAlchemy.
    :param stores: more of them than ``fast`` and ``slow``: drivers and options, by names.
    :param more_options: of uWSGI.
    :param encryption_key: of the locations; they are not encrypted if it is empty.
    """
    port = free_port()
    paste = (GLANCE / "etc" / "glance" / "glance-api-paste.ini").read_text()
    # Without this filter nothing removes a client's identity headers.
    (folder / "paste.ini").write_text(paste.replace(" authtoken ", " "))
    options = [f"--http11-socket=127.0.0.1:{port}", *more_options]
    encryption = f"metadata_encryption_key = {encryption_key}" if encryption_key else ""
    config = _config(folder, database_url, encryption)
    for name, (driver, values) in stores.items():
        config = config.replace("slow:file", f"slow:file, {name}:{driver}")
        config += f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in values.items())
    with running_glance(folder, port, config, options):
        yield DatabaseGlance(port, folder)


# The last version of the tables in the release Mitaka.
MITAKA = "mitaka02"


def make_tables(folder: Path, database_url: str, version: str = "") -> None:
    """Make Glance's tables in an empty database.

    :param folder: for the files of ``glance-manage``.
    :param version: of the tables; those of Glance 33 if it is empty.
    """
    config = folder / "glance-manage-tables.conf"
    config.write_text(_config(folder, database_url))
    shutil.copy(GLANCE / "etc" / "glance" / "glance-manage.conf", folder)
    command = [str(GLANCE / "bin" / "glance-manage"), "--config-file", str(config), "db"]
    command += ["upgrade", version] if version else ["sync"]
    subprocess.run(command, check=True, capture_output=True, timeout=120, cwd=folder)


def _config(folder: Path, database_url: str, options: str = "") -> str:
    return CONFIG.format(folder=folder, connection=for_glance(database_url), options=options)


def for_glance(database_url: str) -> str:
    """The same URL with the driver that Glance is tested with."""
    return database_url.replace("postgresql+psycopg:", "postgresql+psycopg2:")
