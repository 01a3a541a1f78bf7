# SPDX-License-Identifier: Apache-2.0
import pytest
from sqlalchemy import text

from imageapi.backends.sql.registry import SQLRegistry
from imageapi.caller import ANONYMOUS
from imageapi.errors import BackendUnavailable, ImageNotFound
from tests.glance_tables import METADATA, GlanceTables


def test_a_database_without_tables(tables: GlanceTables, sql_registry: SQLRegistry) -> None:
    METADATA.drop_all(tables.engine)
    with pytest.raises(BackendUnavailable, match="image_properties, images: make the tables with"):
        sql_registry.check()


@pytest.mark.parametrize("name", ["image_properties", "image_locations", "image_members"])
def test_a_database_without_one_table(
    tables: GlanceTables, sql_registry: SQLRegistry, name: str
) -> None:
    METADATA.tables[name].drop(tables.engine)
    with pytest.raises(BackendUnavailable, match=f"has no table {name}: make the tables with"):
        sql_registry.check()


def test_a_table_of_something_else(tables: GlanceTables, sql_registry: SQLRegistry) -> None:
    with tables.engine.begin() as connection:
        connection.execute(text("ALTER TABLE images RENAME COLUMN visibility TO seen"))
    with pytest.raises(BackendUnavailable, match="no table of Glance's: make the tables with"):
        sql_registry.check()


def test_other_columns_after_an_upgrade(tables: GlanceTables, sql_registry: SQLRegistry) -> None:
    with pytest.raises(ImageNotFound):
        sql_registry.get("one", ANONYMOUS)
    with tables.engine.begin() as connection:
        connection.execute(text("ALTER TABLE images RENAME COLUMN os_hidden TO something"))
    with pytest.raises(BackendUnavailable, match="os_hidden"):
        sql_registry.get("one", ANONYMOUS)
    with pytest.raises(ImageNotFound):
        sql_registry.get("one", ANONYMOUS)
