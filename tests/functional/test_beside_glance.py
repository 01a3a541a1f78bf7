# SPDX-License-Identifier: Apache-2.0
"""A real Glance over each database, and imageapi over the same one: who gets which image.

`V2` has what Glance answers, and `DIFFERENCES` what v1 answers where that is not the same.
"""

import json
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from hashlib import md5, sha512
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import sqlalchemy

from imageapi.commands.main import main
from tests.functional.beside_glance import as_rows, ask_v1, ask_v2, make_images
from tests.functional.database_glance import (
    MITAKA,
    PEOPLE,
    DatabaseGlance,
    glance_over,
    make_tables,
)
from tests.functional.database_server import DatabaseServer
from tests.functional.http_client import ask
from tests.functional.identity_app import running_identity_app
from tests.functional.servers import free_port
from tests.glance_tables import METADATA

pytestmark = pytest.mark.timeout(300)

DATABASES = ("sqlite", "postgresql", "mariadb")
# With a key, a Glance encrypts the locations.
KEYS = {"sqlite": "", "postgresql": "hunter2-16-bytes", "mariadb": 2 * "hunter2-16-bytes"}

# S: the caller sees the image. L: it is in the caller's list. D: the caller gets its data.
V2 = """\
                       admin owner reader member stranger anonymous
imported               SLD SLD SL- --- --- ---
copied                 SLD SLD SL- --- --- ---
removed from fast      SLD SLD SL- --- --- ---
public                 SLD SLD SL- SLD SLD ---
private                SLD SLD SL- --- --- ---
shared                 SLD SLD SL- --- --- ---
community              S-D SLD SL- S-D S-D ---
pending                SLD SLD SL- S-D --- ---
accepted               SLD SLD SL- SLD --- ---
rejected               SLD SLD SL- S-D --- ---
member removed         SLD SLD SL- --- --- ---
shared, then private   SLD SLD SL- --- --- ---
shared, then community S-D SLD SL- S-D S-D ---
hidden and public      S-D S-D S-- S-D S-D ---
hidden and accepted    S-D S-D S-- S-D --- ---
deactivated            SLD SL- SL- SL- --- ---
deleted                --- --- --- --- --- ---
queued                 SL- SL- SL- SL- SL- ---
uploading              SL- SL- SL- --- --- ---
empty                  SLD SLD SL- --- --- ---
private without owner  SLD --- --- --- --- ---
shared without owner   SLD S-D S-- S-D S-D ---
public without owner   SLD SLD SL- SLD SLD ---
changed                SLD SLD SL- --- --- ---
"""


ADMINS_LIST = "with is_public=none, an admin's list has all images"

# The rows that differ in v1, each with the reason.
DIFFERENCES = {
    "community": ("SLD SLD SL- S-D S-D ---", ADMINS_LIST),
    "shared, then community": ("SLD SLD SL- S-D S-D ---", ADMINS_LIST),
    "hidden and public": ("SLD S-D S-- S-D S-D ---", ADMINS_LIST),
    "hidden and accepted": ("SLD S-D S-- S-D --- ---", ADMINS_LIST),
    "deactivated": (
        "SL- SL- SL- SL- --- ---",
        "v1 sends the data of a deactivated image to nobody; v2 sends it to admins",
    ),
    "deleted": (
        "S-- --- --- --- --- ---",
        "HEAD shows a deleted image to admins, as in Glance 15",
    ),
    "private without owner": (
        "SLD S-D S-- S-D S-D ---",
        "it is visible to all in the database, as in v1; only the policy of v2 hides it",
    ),
}

# What differs besides in the tables of Mitaka: they have is_public in place of the visibility, and
# no os_hidden.
IN_MITAKA = {
    "community": ("SLD SLD SL- --- --- ---", "it is not public, and has no members"),
    "shared, then private": ("SLD SLD SL- SLD --- ---", "it still has its member"),
    "shared, then community": ("SLD SLD SL- SLD --- ---", "it still has its member"),
    "hidden and public": ("SLD SLD SL- SLD SLD ---", "no image is hidden"),
    "hidden and accepted": ("SLD SLD SL- SLD --- ---", "no image is hidden"),
}

CONFIG = """\
[imageapi]
registry = sql
stores = fast:file, slow:file
policy = rules
[imageapi_registry_sql]
connection = {url}
{encryption}
[imageapi_store_fast]
directory = {folder}/fast
[imageapi_store_slow]
directory = {folder}/slow
[imageapi_policy_rules]
policy_file = {folder}/rules.json
"""

# As in Glance's default policy, only the role member may download.
RULES = {
    "get_image": "role:admin or role:reader",
    "get_images": "role:admin or role:reader",
    "download_image": "role:admin or role:member",
}

# The columns that the table of images has in both.
COLUMNS = """
    id, name, size, virtual_size, status, checksum, min_disk, min_ram, owner, protected,
    disk_format, container_format, created_at, updated_at, deleted_at, deleted
"""

COPY_TO_MITAKA = """
ATTACH '{source}' AS new;
INSERT INTO images ({columns}, is_public)
    SELECT {columns}, visibility = 'public' FROM new.images;
INSERT INTO image_properties SELECT * FROM new.image_properties;
INSERT INTO image_locations SELECT * FROM new.image_locations;
INSERT INTO image_members SELECT * FROM new.image_members;
"""


class Beside(NamedTuple):
    """A Glance with images.

    :ivar reader_url: the URL of its database, for a login that may only read four tables.
    :ivar ids: of the images, by their names.
    :ivar key: with which its locations are encrypted, if they are.
    """

    glance: DatabaseGlance
    reader_url: str
    ids: dict[str, str]
    key: str

    def configuration(self, url: str) -> Path:
        """Write the configuration of an imageapi with the stores of the Glance.

        :param url: of the database that it reads.
        """
        folder = self.glance.folder
        (folder / "rules.json").write_text(json.dumps(RULES))
        config = folder / "imageapi.conf"
        encryption = f"metadata_encryption_key = {self.key}" if self.key else ""
        config.write_text(CONFIG.format(url=url, folder=folder, encryption=encryption))
        return config


def rows_in(table: str) -> dict[str, str]:
    """The rows of a table, by the names of the images."""
    return {line[:22].rstrip(): line[23:] for line in table.splitlines()[1:]}


FIELDS = """
    id name size virtual_size status checksum owner protected min_disk min_ram disk_format
    container_format
""".split()


def fields_of_v2(image: dict[str, Any]) -> dict[str, str]:
    """What v1 shows of an image that v2 describes, by the names of the headers."""
    fields = {name: image[name] for name in FIELDS if image[name] is not None}
    fields["is_public"] = image["visibility"] == "public"
    # The schema of v2 knows no others.
    not_properties = {*FIELDS, "visibility", "os_hidden", "os_hash_algo", "os_hash_value", "stores"}
    not_properties |= {"created_at", "updated_at", "tags", "self", "file", "schema"}
    for name in image.keys() - not_properties:
        if not name.startswith("os_glance_"):
            fields[f"property-{name}"] = image[name]
    return {f"x-image-meta-{name}": str(value) for name, value in fields.items()}


def fields_in_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The same in an answer of v1."""
    left_out = ("uri", "created_at", "updated_at", "deleted")
    return {
        name.lower(): value.encode("latin-1").decode()
        for name, value in headers.items()
        if name.lower().startswith("x-image-meta-")
        and name.lower().removeprefix("x-image-meta-") not in left_out
    }


@pytest.fixture(scope="module")
def glances(
    postgresql: DatabaseServer, mariadb: DatabaseServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Beside]]:
    """A Glance over each database, by its name."""
    servers = {"postgresql": postgresql, "mariadb": mariadb}
    with ExitStack() as stack:

        def start(database: str) -> Beside:
            folder = tmp_path_factory.getbasetemp() / f"glance-over-{database}"
            folder.mkdir()
            server = servers.get(database)
            url = f"sqlite:///{folder}/glance.db"
            if server:
                url = server.create_database("glance")
            key = KEYS[database]
            glance = stack.enter_context(glance_over(folder, url, encryption_key=key))
            ids = make_images(glance)
            reader_url = server.create_reader("glance") if server else url
            return Beside(glance, reader_url, ids, key)

        # Each of them waits most of the time, for a process that starts or a database.
        with ThreadPoolExecutor() as pool:
            yield dict(zip(DATABASES, pool.map(start, DATABASES), strict=True))


@contextmanager
def imageapis(folder: Path, config_files: Iterable[Path]) -> Iterator[list[int]]:
    """Run an imageapi for each configuration, in one process; yields their ports."""
    settings: dict[int, dict[str, Any]] = {}
    for config in config_files:
        settings[free_port()] = {"caller": "headers", "config_files": [str(config)]}
    with running_identity_app(folder, settings):
        yield list(settings)


@pytest.fixture(scope="module")
def ports(
    glances: dict[str, Beside], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, int]]:
    """The port of an imageapi over each database, by its name."""
    files = [beside.configuration(beside.reader_url) for beside in glances.values()]
    with imageapis(tmp_path_factory.mktemp("imageapi"), files) as found:
        yield dict(zip(glances, found, strict=True))


@pytest.mark.parametrize("database", DATABASES)
def test_v2(glances: dict[str, Beside], database: str) -> None:
    """So the images are what their names say."""
    beside = glances[database]
    assert as_rows(ask_v2(beside.glance, beside.ids)) == rows_in(V2)


@pytest.mark.parametrize("database", DATABASES)
def test_v1(glances: dict[str, Beside], ports: dict[str, int], database: str) -> None:
    differences = {name: row for name, (row, _) in DIFFERENCES.items()}
    v2 = rows_in(V2)
    assert as_rows(ask_v1(ports[database], glances[database].ids)) == v2 | differences
    # A row that is the same needs no reason.
    assert not [name for name, row in differences.items() if v2[name] == row]


@pytest.mark.parametrize("database", DATABASES)
def test_locations_are_encrypted_with_a_key(glances: dict[str, Beside], database: str) -> None:
    engine = sqlalchemy.create_engine(glances[database].reader_url)
    try:
        with engine.connect() as connection:
            rows = connection.execute(sqlalchemy.text("SELECT value FROM image_locations")).all()
    finally:
        engine.dispose()
    plain = [value.startswith("file://") for (value,) in rows]
    assert len(plain) > 20
    assert any(plain) == all(plain) == (not KEYS[database])


@pytest.mark.parametrize("database", DATABASES)
def test_v1_fields(glances: dict[str, Beside], ports: dict[str, int], database: str) -> None:
    admin = PEOPLE["admin"].headers()
    beside = glances[database]
    for name, image_id in beside.ids.items():
        if name != "deleted":
            shown = beside.glance.ask("admin", "GET", f"images/{image_id}")
            headers = ask(ports[database], f"/v1/images/{image_id}", "HEAD", **admin).headers
            assert fields_in_headers(headers) == fields_of_v2(json.loads(shown.body)), name


def test_tables_of_mitaka(glances: dict[str, Beside], tmp_path: Path) -> None:
    """The same images in older tables, which have less of them."""
    beside = glances["sqlite"]
    url = f"sqlite:///{tmp_path}/mitaka.db"
    make_tables(tmp_path, url, MITAKA)
    with closing(sqlite3.connect(tmp_path / "mitaka.db")) as database:
        source = beside.glance.folder / "glance.db"
        database.executescript(COPY_TO_MITAKA.format(source=source, columns=COLUMNS))
    differences = {name: row for name, (row, _) in (DIFFERENCES | IN_MITAKA).items()}
    with imageapis(tmp_path, [beside.configuration(url)]) as (port,):
        assert as_rows(ask_v1(port, beside.ids)) == rows_in(V2) | differences


def test_tables_that_other_tests_make(glances: dict[str, Beside]) -> None:
    """They have the columns of Glance's own."""
    engine = sqlalchemy.create_engine(glances["sqlite"].reader_url)
    try:
        inspector = sqlalchemy.inspect(engine)
        for table in METADATA.sorted_tables:
            real = {one["name"]: one["nullable"] for one in inspector.get_columns(table.name)}
            assert {one.name: one.nullable for one in table.columns} == real, table.name
    finally:
        engine.dispose()


@pytest.mark.parametrize("database", DATABASES)
def test_what_the_commands_write(
    glances: dict[str, Beside],
    request: pytest.FixtureRequest,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    database: str,
) -> None:
    """Glance shows it, and lets download it."""
    glance = glances[database].glance
    url = glances[database].reader_url
    if database != "sqlite":
        url = request.getfixturevalue(database).url("glance")
    config = glances[database].configuration(url)
    data = tmp_path / "data"
    image_id = "5f5e7d3a-0000-4000-8000-000000000001"

    def run(*words: str, status: int = 0) -> None:
        with pytest.raises(SystemExit) as ended:
            sys.exit(main(["--config-file", str(config), *words]))
        assert ended.value.code == status, capsys.readouterr().err

    def shown(person: str = "owner") -> dict[str, Any]:
        answer = glance.ask(person, "GET", f"images/{image_id}")
        assert answer.status == 200
        found: dict[str, Any] = json.loads(answer.body)
        return found

    data.write_bytes(b"first")
    details = "--private --owner images --member customers --property os_distro=debian --name Added"
    formats = "--disk-format raw --container-format bare --store slow"
    run("add", str(data), "--id", image_id, *details.split(), *formats.split())
    for name, value in {
        "name": "Added",
        "os_distro": "debian",
        "visibility": "shared",
        "status": "active",
        "size": 5,
        "stores": "slow",
        "checksum": md5(b"first").hexdigest(),
        "os_hash_value": sha512(b"first").hexdigest(),
    }.items():
        assert shown("member")[name] == value
    assert glance.ask("member", "GET", f"images/{image_id}/file").body == b"first"
    run("set", image_id, "--property", "a=b", "--remove-property", "os_distro", "--name", "New")
    assert {"a": "b", "name": "New"}.items() <= shown().items()
    assert "os_distro" not in shown()
    run("deactivate", image_id)
    assert glance.ask("owner", "GET", f"images/{image_id}/file").status == 403
    run("activate", image_id)
    data.write_bytes(b"second")
    run("replace", image_id, str(data))
    assert glance.ask("owner", "GET", f"images/{image_id}/file").body == b"second"
    run("list")
    assert image_id in capsys.readouterr().out
    run("remove", image_id)
    assert glance.ask("owner", "GET", f"images/{image_id}").status == 404
    assert not list((glance.folder / "slow").glob(f"{image_id}*"))
    run("add", str(data), "--id", image_id, "--public", status=1)
