# SPDX-License-Identifier: Apache-2.0
"""Rows that Glance keeps after they are deleted, and uses again."""

import pytest
from sqlalchemy import select

from imageapi.backends.sql.child_rows import ChildRows
from imageapi.backends.sql.locations import Encryption
from imageapi.backends.sql.registry import SQLRegistry
from imageapi.caller import Caller
from imageapi.image import Location
from tests.glance_tables import LOCATIONS, MEMBERS, PROPERTIES, GlanceTables
from tests.unit.backends.sql.images import LOCATION, stored

ADMIN = Caller(user_id="a", is_admin=True)
NOW = "2026-01-01 00:00:00.000000"


@pytest.fixture
def image_properties(tables: GlanceTables, sql_registry: SQLRegistry) -> None:
    tables.put(stored(properties={"a": "1", "b": "2"}))


@pytest.mark.usefixtures("image_properties")
def test_a_property_that_is_removed_and_set_again(
    tables: GlanceTables, sql_registry: SQLRegistry
) -> None:
    """Two rows of one name are not allowed."""
    for properties in ({"b": "2", "c": "3"}, {}, {"a": "4", "c": "3"}):
        with sql_registry._tables.database.transaction() as connection:
            ChildRows(connection, "one", NOW).write_properties(stored(properties=properties))
        assert sql_registry.get("one", ADMIN).properties == properties
    with tables.engine.connect() as connection:
        rows = connection.execute(select(PROPERTIES.c.name, PROPERTIES.c.deleted)).all()
    assert sorted(rows) == [("a", False), ("b", True), ("c", False)]


def test_a_location_that_stays_keeps_its_row(
    tables: GlanceTables, sql_registry: SQLRegistry
) -> None:
    tables.put(stored(locations=(LOCATION, Location("file:///old"))))
    image = stored(locations=(LOCATION, Location("file:///new")))
    with sql_registry._tables.database.transaction() as connection:
        ChildRows(connection, "one", NOW).write_locations(image, Encryption(None))
    assert sql_registry.get("one", ADMIN).locations == image.locations
    with tables.engine.connect() as connection:
        rows = connection.execute(select(LOCATIONS.c.value, LOCATIONS.c.status)).all()
    assert sorted(rows) == [
        ("file:///images/one", "active"),
        ("file:///new", "active"),
        ("file:///old", "deleted"),
    ]


def test_a_member_that_leaves_and_returns(tables: GlanceTables, sql_registry: SQLRegistry) -> None:
    tables.put(stored(members=frozenset({"m"})))
    for members in ({"n"}, {"m", "n"}):
        with sql_registry._tables.database.transaction() as connection:
            children = ChildRows(connection, "one", NOW)
            children.write_members(stored(members=frozenset(members)))
        assert sql_registry.get("one", ADMIN).members == members
    with tables.engine.connect() as connection:
        rows = connection.execute(select(MEMBERS.c.member, MEMBERS.c.deleted)).all()
    assert sorted(rows) == [("m", False), ("m", True), ("n", False)]
