# SPDX-License-Identifier: Apache-2.0
"""Records as rows; tests/functional reads them with a real Glance."""

from typing import Any

import pytest

from imageapi import document
from imageapi.backends.sql.registry import SQLRegistry
from imageapi.backends.writing import RecordExists, RecordWriter, WriteError
from imageapi.caller import Caller
from imageapi.document.editing import changed, new_record
from imageapi.errors import ImageNotFound
from imageapi.image import Image, Location
from tests.glance_tables import IMAGES, GlanceTables
from tests.unit.backends.sql.images import stored

ADMIN = Caller(user_id="a", is_admin=True)


@pytest.fixture
def writer(sql_registry: SQLRegistry) -> RecordWriter:
    return sql_registry.writer()


def edit(writer: RecordWriter, **fields: Any) -> Image:
    old = writer.read("one")
    writer.replace("one", old, changed(old, "one", fields))
    return document.parse(writer.read("one"), "one")


def visibility_of(tables: GlanceTables) -> str:
    with tables.engine.connect() as connection:
        (row,) = connection.execute(IMAGES.select())
        return str(row.visibility)


@pytest.mark.parametrize("is_public", [True, False])
def test_a_record_is_read_as_it_was_written(
    tables: GlanceTables, writer: RecordWriter, is_public: bool
) -> None:
    record = new_record(stored(is_public=is_public, properties={"a": "b"}, name="n"))
    writer.create("one", record)
    assert writer.read("one") == record
    assert visibility_of(tables) == ("public" if is_public else "shared")


def test_an_image_without_an_owner_must_be_public(
    tables: GlanceTables, writer: RecordWriter
) -> None:
    with pytest.raises(WriteError, match="set --owner or --public"):
        writer.create("one", new_record(stored(owner=None)))
    tables.put(stored(owner=None, is_public=True))
    with pytest.raises(WriteError, match="set --owner or --public"):
        edit(writer, is_public=False)


def test_a_record_that_exists(writer: RecordWriter) -> None:
    record = new_record(stored())
    writer.create("one", record)
    with pytest.raises(RecordExists, match="it exists, or was deleted"):
        writer.create("one", record)
    writer.remove("one", record)
    with pytest.raises(ImageNotFound):
        writer.read("one")
    with pytest.raises(RecordExists, match="is not purged yet: choose another id"):
        writer.create("one", record)


def test_a_removed_image_stays_for_admins(sql_registry: SQLRegistry, writer: RecordWriter) -> None:
    record = new_record(stored(properties={"a": "b"}, members=frozenset({"m"})))
    writer.create("one", record)
    writer.remove("one", record)
    image = sql_registry.get("one", ADMIN)
    assert (image.status, image.deleted) == ("deleted", True)
    assert image.deleted_at is not None
    assert not image.properties
    with pytest.raises(ImageNotFound):
        sql_registry.get("one", Caller(user_id="u", project_id="p"))


def test_only_what_was_changed_is_written(tables: GlanceTables, writer: RecordWriter) -> None:
    tables.put(stored(), visibility="community", os_hidden=True)
    assert edit(writer, name="new", status="deactivated").name == "new"
    with tables.engine.connect() as connection:
        (row,) = connection.execute(IMAGES.select())
    assert (row.visibility, row.os_hidden, row.status) == ("community", True, "deactivated")


@pytest.mark.parametrize("begin", ["private", "community", "shared"])
def test_who_may_know_of_an_image(tables: GlanceTables, writer: RecordWriter, begin: str) -> None:
    tables.put(stored(), visibility=begin)
    assert edit(writer, name="new").name == "new"
    assert visibility_of(tables) == begin
    assert edit(writer, members=["m"]).members == {"m"}
    assert visibility_of(tables) == "shared"
    assert edit(writer, is_public=True).is_public
    assert visibility_of(tables) == "public"
    edit(writer, is_public=False)
    assert visibility_of(tables) == "shared"


def test_members_from_before_do_not_return(tables: GlanceTables, writer: RecordWriter) -> None:
    """Glance keeps the members of an image that is shared no more."""
    tables.put(stored(members=frozenset({"old"})), visibility="private")
    assert edit(writer, members=["new"]).members == {"new"}


@pytest.mark.parametrize("writing", ["replace", "remove"])
def test_a_record_that_somebody_else_has_changed(
    tables: GlanceTables, writer: RecordWriter, writing: str
) -> None:
    tables.put(stored())
    old = writer.read("one")
    tables.change(IMAGES, "one", name="other")
    with pytest.raises(WriteError, match="the record was changed meanwhile: try again"):
        writer.replace("one", old, old) if writing == "replace" else writer.remove("one", old)
    assert document.parse(writer.read("one"), "one").name == "other"


def test_a_database_that_cannot_be_written(
    tables: GlanceTables, sql_registry: SQLRegistry, writer: RecordWriter
) -> None:
    tables.put(stored())
    old = writer.read("one")
    with tables.engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER no BEFORE UPDATE ON images BEGIN SELECT RAISE(FAIL, 'read only'); END"
        )
    with pytest.raises(WriteError, match="read only"):
        writer.replace("one", old, changed(old, "one", {"name": "new"}))
    assert writer.read("one") == old


def test_other_data(tables: GlanceTables, sql_registry: SQLRegistry, writer: RecordWriter) -> None:
    tables.put(stored())
    edit(writer, locations=[{"url": "file:///new", "metadata": {"store": "slow"}}], size=7)
    image = sql_registry.get("one", ADMIN)
    assert image.locations == (Location("file:///new", "slow"),)
    assert image.size == 7
