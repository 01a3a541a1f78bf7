# SPDX-License-Identifier: Apache-2.0
"""The conformance suites have what all registries share."""

import contextlib
import os

import pytest
from sqlalchemy import event

import imageapi
from imageapi.backends.listing import ListQuery
from imageapi.backends.sql.registry import SQLRegistry
from imageapi.caller import ANONYMOUS, Caller
from imageapi.config import plugins
from imageapi.errors import BackendUnavailable, ImageNotFound, MalformedImage
from imageapi.image import Location
from imageapi.testing.suite import build
from tests.glance_tables import IMAGES, LOCATIONS, METADATA, PROPERTIES, GlanceTables
from tests.paths import EXAMPLES
from tests.unit.backends.sql.images import LOCATION, stored

OWNER = Caller(user_id="u", project_id="p")


@pytest.mark.parametrize(
    "changes", [{"deleted": True}, {"status": "deleted"}, {"status": "pending_delete"}]
)
def test_only_locations_that_have_data(
    tables: GlanceTables, sql_registry: SQLRegistry, changes: dict[str, object]
) -> None:
    tables.put(stored(locations=(LOCATION, Location("file:///images/two"))))
    tables.change(LOCATIONS, "one", **changes)
    with tables.engine.begin() as connection:
        rows = LOCATIONS.update().where(LOCATIONS.c.value == LOCATION.url)
        connection.execute(rows.values(deleted=False, status="active"))
    assert sql_registry.get("one", OWNER).locations == (LOCATION,)


@pytest.mark.parametrize("image_id", ["x" * 37, "\N{SNOWMAN}", "a\N{COMBINING ACUTE ACCENT}"])
def test_an_id_that_no_row_can_have_is_not_asked_for(
    tables: GlanceTables, sql_registry: SQLRegistry, image_id: str
) -> None:
    """PostgreSQL refuses some of them."""
    METADATA.drop_all(tables.engine)
    with pytest.raises(ImageNotFound):
        sql_registry.get(image_id, ANONYMOUS)


def test_who_may_not_know_of_an_image_does_not_learn_that_it_is_malformed(
    tables: GlanceTables, sql_registry: SQLRegistry
) -> None:
    tables.put(stored())
    tables.change(IMAGES, "one", status="odd")
    with pytest.raises(MalformedImage, match="status must be one of"):
        sql_registry.get("one", OWNER)
    with pytest.raises(ImageNotFound):
        sql_registry.get("one", ANONYMOUS)


def test_a_record_takes_one_round_trip_and_a_page_of_a_list_two(
    tables: GlanceTables, sql_registry: SQLRegistry
) -> None:
    for number in range(30):
        tables.put(stored(f"{number}", is_public=True, properties={"a": "b"}))
    list(sql_registry.list(ListQuery(limit=50), ANONYMOUS))
    sent: list[str] = []
    pool = sql_registry._tables.database._pool()
    event.listen(pool, "checkout", lambda driver, *_: driver.set_trace_callback(sent.append))
    sql_registry.get("1", ANONYMOUS)
    assert len(sent) == 1
    sent.clear()
    assert len(list(sql_registry.list(ListQuery(limit=50), ANONYMOUS))) == 30
    assert len(sent) == 2


def test_a_record_is_the_same_object_as_long_as_its_rows_are_the_same(
    tables: GlanceTables, sql_registry: SQLRegistry
) -> None:
    tables.put(stored(properties={"a": "b"}))
    first = sql_registry.get("one", OWNER)
    assert sql_registry.get("one", OWNER) is first
    tables.change(PROPERTIES, "one", value="c")
    assert sql_registry.get("one", OWNER).properties == {"a": "c"}
    tables.change(IMAGES, "one", deleted=True)
    with pytest.raises(ImageNotFound):
        sql_registry.get("one", OWNER)


def test_example_of_the_page() -> None:
    config = imageapi.load_config([str(EXAMPLES / "beside-glance.conf")])
    with contextlib.closing(plugins.load(config)) as backends:
        assert isinstance(backends.registry.backend, SQLRegistry)
        assert [store.name for store in backends.stores] == ["fast", "slow"]


def test_requests_read_from_the_replica_and_commands_do_not(
    tables: GlanceTables, database_url: str, tmp_path: "os.PathLike[str]"
) -> None:
    replica = GlanceTables(f"sqlite:///{os.fspath(tmp_path)}/replica.sqlite")
    tables.put(stored(name="new"))
    replica.put(stored(name="old"))
    registry = build(SQLRegistry, connection=database_url, slave_connection=str(replica.engine.url))
    assert registry.get("one", OWNER).name == "old"
    assert registry.get_newest("one", OWNER).name == "new"
    registry.check()
    METADATA.drop_all(replica.engine)
    with pytest.raises(BackendUnavailable, match="images"):
        registry.check()
    registry.close()
    replica.close()


def test_ids_are_those_of_images_that_are_not_deleted(
    tables: GlanceTables, sql_registry: SQLRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imageapi.backends.sql.listing._IDS_AT_ONCE", 2)
    for number in range(5):
        tables.put(stored(f"{number}"))
    tables.change(IMAGES, "3", deleted=True)
    assert list(sql_registry.image_ids()) == ["0", "1", "2", "4"]
