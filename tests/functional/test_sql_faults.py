# SPDX-License-Identifier: Apache-2.0
"""A real database that is killed, frozen or full of odd values; no answer but the contract's."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import imageapi
from imageapi.backends.sql.locations import Encryption
from imageapi.backends.sql.registry import SQLRegistry
from imageapi.caller import ANONYMOUS
from imageapi.document.editing import changed
from imageapi.testing.suite import build
from tests.deployment import get
from tests.functional.database_server import OWNER_PASSWORD, DatabaseServer
from tests.functional.waiting import wait_until
from tests.glance_tables import IMAGES, LOCATIONS, MEMBERS, PROPERTIES, GlanceTables
from tests.unit.backends.sql.images import stored

IMAGE = "/v1/images/one"
LIST = "/v1/images/detail"
READ_TIMEOUT = 1.0
# How much longer than the timeouts an answer may take on a busy machine, in seconds.
SLACK = 20.0


@pytest.fixture(scope="module", params=["postgresql", "mariadb"])
def glance_database(request: pytest.FixtureRequest) -> tuple[DatabaseServer, str]:
    """A server that a test may kill or freeze, and the URL of a database with Glance's tables."""
    server: DatabaseServer = request.getfixturevalue(request.param)
    url = server.create_database("faults")
    tables = GlanceTables(url)
    tables.put(stored(is_public=True, size=0, properties={"a": "b"}))
    tables.close()
    return server, url


def api_over(folder: Path, url: str, more: str = "") -> imageapi.ImageAPI:
    """An imageapi whose records are in a database; the test closes it."""
    config_file = folder / "imageapi.conf"
    config_file.write_text(
        f"[imageapi]\nregistry = sql\n[imageapi_registry_sql]\nconnection = {url}\n"
        f"read_timeout = {READ_TIMEOUT}\nconnect_timeout = 1\n{more}"
        f"[imageapi_store_file]\ndirectory = {folder}\n"
    )
    return imageapi.ImageAPI(imageapi.load_config([str(config_file)]))


@contextmanager
def asked_all_the_time(api: imageapi.ImageAPI, path: str) -> Iterator[Counter[int]]:
    """Ask in four threads until the block ends, and count the statuses."""
    found: Counter[int] = Counter()
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            found[get(api, path).status_int] += 1

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        over.set()
        for thread in threads:
            thread.join(120)


@pytest.mark.parametrize("fault", ["kill", "stop"])
@pytest.mark.parametrize("path", [IMAGE, LIST])
def test_a_restart_under_load(
    tmp_path: Path,
    glance_database: tuple[DatabaseServer, str],
    caplog: pytest.LogCaptureFixture,
    fault: str,
    path: str,
) -> None:
    server, url = glance_database
    api = api_over(tmp_path, url)
    assert get(api, path).status_int == 200
    with asked_all_the_time(api, path) as found:
        wait_until(lambda: found[200] > 20, "no request was answered")
        getattr(server, fault)()
        refused = get(api, path)
        server.start()
        after = get(api, path)
    assert (refused.status_int, refused.headers["Retry-After"]) == (503, "30")
    assert after.status_int == 200
    assert set(found) <= {200, 503}
    assert OWNER_PASSWORD not in caplog.text
    api.close()


def test_an_idle_connection_that_the_database_has_closed(
    tmp_path: Path, glance_database: tuple[DatabaseServer, str]
) -> None:
    """No client notices a restart between two requests."""
    server, url = glance_database
    api = api_over(tmp_path, url)
    assert get(api, IMAGE).status_int == 200
    server.restart()
    assert get(api, IMAGE).status_int == 200
    api.close()


def test_a_command_that_was_idle_while_the_database_restarted(
    glance_database: tuple[DatabaseServer, str],
) -> None:
    """As during the upload of a large image."""
    server, url = glance_database
    registry = build(SQLRegistry, connection=url)
    writer = registry.writer()
    old = writer.read("one")
    server.restart()
    assert writer.read("one") == old
    server.restart()
    writer.replace("one", old, changed(old, "one", {"name": "new"}))
    assert registry.get("one", ANONYMOUS).name == "new"
    registry.close()


@pytest.mark.parametrize("path", [IMAGE, LIST])
def test_a_database_that_hangs(
    tmp_path: Path, glance_database: tuple[DatabaseServer, str], path: str
) -> None:
    server, url = glance_database
    api = api_over(tmp_path, url)
    assert get(api, path).status_int == 200
    server.freeze()
    try:
        for _ in ("an open connection", "a new connection"):
            began = time.monotonic()
            assert get(api, path).status_int == 503
            assert time.monotonic() - began < READ_TIMEOUT + SLACK
    finally:
        server.thaw()
    assert get(api, path).status_int == 200
    api.close()


def test_no_connection_is_free_while_the_database_hangs(
    tmp_path: Path, glance_database: tuple[DatabaseServer, str], caplog: pytest.LogCaptureFixture
) -> None:
    server, url = glance_database
    limits = "max_pool_size = 1\nmax_overflow = 0\npool_timeout = 0.1\n"
    api = api_over(tmp_path, url, limits)
    assert get(api, IMAGE).status_int == 200
    server.freeze()
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(get(api, IMAGE).status_int)) for _ in range(6)
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
    finally:
        server.thaw()
    assert found == [503] * 6
    assert "no connection was free in time" in caplog.text
    assert get(api, IMAGE).status_int == 200
    api.close()


def test_a_wrong_password(
    tmp_path: Path, glance_database: tuple[DatabaseServer, str], caplog: pytest.LogCaptureFixture
) -> None:
    _, url = glance_database
    api = api_over(tmp_path, url.replace(OWNER_PASSWORD, "hunter2-that-is-wrong"))
    assert get(api, IMAGE).status_int == 503
    assert "hunter2" not in caplog.text
    assert "glance" in caplog.text  # whose password it is
    api.close()


def test_locations_under_another_key(
    tmp_path: Path, glance_database: tuple[DatabaseServer, str], caplog: pytest.LogCaptureFixture
) -> None:
    _, url = glance_database
    (tmp_path / "one").write_bytes(b"abc")
    secret = Encryption("k" * 16).encrypted((tmp_path / "one").as_uri())
    tables = GlanceTables(url)
    tables.put(stored("encrypted", is_public=True))
    tables.change(LOCATIONS, "encrypted", value=secret, meta_data="{}")
    tables.close()
    path = "/v1/images/encrypted"
    for key, status in (("k" * 16, 200), ("l" * 16, 500), ("", 500)):
        option = f"metadata_encryption_key = {key}\n" if key else ""
        api = api_over(tmp_path, url, option)
        answer = get(api, path)
        assert (answer.status_int, status == 200) == (status, answer.body == b"abc")
        api.close()
    assert "metadata_encryption_key" in caplog.text
    for hidden in (secret, "k" * 16, "l" * 16):
        assert hidden not in caplog.text


def test_times_that_python_cannot_represent(
    tmp_path: Path, glance_database: tuple[DatabaseServer, str]
) -> None:
    server, url = glance_database
    tables = GlanceTables(url)
    tables.put(stored("odd", is_public=True))
    tables.close()
    odd = "infinity" if url.startswith("postgresql") else "0000-00-00"
    change = f"UPDATE images SET updated_at = '{odd}' WHERE id = 'odd';"
    if odd == "0000-00-00":
        change = f"SET sql_mode = ''; {change}"
    server.execute(change, "faults")
    api = api_over(tmp_path, url)
    assert get(api, "/v1/images/odd").status_int == 500
    listed = get(api, LIST)
    assert listed.status_int == 200
    assert "one" in [image["id"] for image in listed.json["images"]]
    api.close()


COLUMNS = [
    (table, column.name)
    for table in (IMAGES, PROPERTIES, LOCATIONS, MEMBERS)
    for column in table.columns
    if column.name not in ("id", "image_id")
]
ANY_VALUE = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    st.binary(max_size=20),
)


@pytest.fixture(scope="module")
def loose(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[GlanceTables, imageapi.ImageAPI]]:
    """SQLite without constraints, in which each column takes any value."""
    folder = tmp_path_factory.mktemp("loose")
    url = f"sqlite:///{folder}/glance.sqlite"
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for table in (IMAGES, PROPERTIES, LOCATIONS, MEMBERS):
            columns = ", ".join(f'"{column.name}"' for column in table.columns)
            if table is not IMAGES:
                columns = columns.replace('"id"', "id INTEGER PRIMARY KEY")
            connection.exec_driver_sql(f"CREATE TABLE {table.name} ({columns})")
    engine.dispose()
    tables, api = GlanceTables(url), api_over(folder, url)
    yield tables, api
    api.close()
    tables.close()


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.sampled_from(COLUMNS), value=ANY_VALUE)
def test_any_value_in_any_column(
    loose: tuple[GlanceTables, imageapi.ImageAPI],
    caplog: pytest.LogCaptureFixture,
    where: tuple[sa.Table, str],
    value: object,
) -> None:
    tables, api = loose
    table, name = where
    tables.put(stored(is_public=True, properties={"a": "b"}, members=frozenset({"m"})))
    with tables.engine.begin() as connection:
        connection.exec_driver_sql(f'UPDATE {table.name} SET "{name}" = ?', (value,))
    caplog.clear()
    for path in (IMAGE, f"{IMAGE}?format=json"):
        assert get(api, path).status_int in (200, 404, 500), path
    for path in ("/v1/images", LIST):
        assert get(api, path).status_int == 200
    assert not [record for record in caplog.records if record.exc_info]
