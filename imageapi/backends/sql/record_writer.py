# SPDX-License-Identifier: Apache-2.0
"""Writes records as rows, as Glance does: each change is one transaction.

Glance keeps the rows of what is deleted until an operator purges them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from imageapi import document
from imageapi.backends.sql.child_rows import ChildRows
from imageapi.backends.sql.list_statement import time_text
from imageapi.backends.sql.locations import Encryption
from imageapi.backends.sql.row_values import image_values
from imageapi.backends.sql.rows import rows_of_record
from imageapi.backends.sql.schema import LOCATIONS, MEMBERS, PROPERTIES, TAGS
from imageapi.backends.sql.tables import Tables
from imageapi.backends.writing import RecordExists, RecordWriter, WriteError
from imageapi.document.editing import new_record
from imageapi.errors import BackendUnavailable, ImageNotFound
from imageapi.image import NO_LOCATION, Image


class SQLRecordWriter(RecordWriter):
    """Adds, changes and deletes rows."""

    # Glance finds no data without a location.
    needs_locations = True

    def __init__(self, tables: Tables, encryption: Encryption) -> None:
        self._tables = tables
        self._encryption = encryption

    def read(self, image_id: str) -> bytes:
        with self._tables.database.connected() as connection:
            return _document(self._found(connection, image_id))

    def create(self, image_id: str, record: bytes) -> None:
        image = document.parse(record, image_id)
        _check_owner(image)
        schema = self._tables.schema()
        row = {"id": image_id, "deleted": False, **image_values(schema, image)}
        row.update(self._visibility(image, None))
        if "os_hidden" in schema.names:
            row["os_hidden"] = False
        with self._transaction() as connection:
            try:
                connection.execute(insert(schema.images).values(row))
            except IntegrityError:
                raise RecordExists(
                    "it exists, or was deleted and is not purged yet: choose another id"
                ) from None
            children = ChildRows(connection, image_id, _now())
            children.write_properties(image)
            children.write_locations(image, self._encryption)
            children.write_members(image)

    def replace(self, image_id: str, old: bytes, new: bytes) -> None:
        before, image = document.parse(old, image_id), document.parse(new, image_id)
        _check_owner(image)
        schema = self._tables.schema()
        values = image_values(schema, image)
        known = image_values(schema, before)
        changed = {name: value for name, value in values.items() if value != known[name]}
        is_shared_anew = (image.is_public, image.members) != (before.is_public, before.members)
        if is_shared_anew:
            changed.update(self._visibility(image, before))
        with self._transaction() as connection:
            self._check_unchanged(connection, image_id, old)
            if changed:
                of_image = schema.images.c.id == image_id
                connection.execute(update(schema.images).where(of_image).values(changed))
            children = ChildRows(connection, image_id, _now())
            if image.properties != before.properties:
                children.write_properties(image)
            if image.locations != before.locations:
                children.write_locations(image, self._encryption)
            if is_shared_anew:
                children.write_members(image)

    def remove(self, image_id: str, old: bytes) -> None:
        now = _now()
        gone = {"deleted": True, "deleted_at": now, "updated_at": now, "status": "deleted"}
        images = self._tables.schema().images
        with self._transaction() as connection:
            self._check_unchanged(connection, image_id, old)
            of_image = images.c.id == image_id
            connection.execute(update(images).where(of_image).values(gone))
            for table in (LOCATIONS, PROPERTIES, MEMBERS, TAGS):
                ChildRows(connection, image_id, now).delete(table)

    def _visibility(self, image: Image, before: Image | None) -> dict[str, Any]:
        """Return what says who may know of an image; nothing if that stays as it is."""
        if not self._tables.schema().has_visibility:
            return {"is_public": image.is_public}
        if image.is_public:
            return {"visibility": "public"}
        # A private image has no members, and an image of a community needs none.
        is_to_be_shared = before is None or before.is_public or bool(image.members)
        return {"visibility": "shared"} if is_to_be_shared else {}

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            with self._tables.database.transaction() as connection:
                yield connection
        except BackendUnavailable as error:
            raise WriteError(str(error)) from None

    def _found(self, connection: Connection, image_id: str) -> Image:
        """Return an image as it is written now.

        :raises ImageNotFound: the database has no such image, or it is deleted.
        """
        schema = self._tables.schema()
        rows = connection.execute(schema.record, {"image_id": image_id}).all()
        found = rows_of_record(schema, rows, image_id)
        if found is None or found.is_deleted:
            raise ImageNotFound("no record")
        return found.image(self._encryption)

    def _check_unchanged(self, connection: Connection, image_id: str, old: bytes) -> None:
        """Lock the row of an image, and compare its record.

        :raises WriteError: somebody else has changed it.
        """
        images = self._tables.schema().images
        connection.execute(select(images.c.id).where(images.c.id == image_id).with_for_update())
        if _document(self._found(connection, image_id)) != old:
            raise WriteError("the record was changed meanwhile: try again")


def _check_owner(image: Image) -> None:
    """Refuse what Glance would show to each caller that knows the id."""
    if image.owner is None and not image.is_public:
        raise WriteError(
            "an image without an owner is public in Glance's database: set --owner or --public"
        )


def _now() -> str:
    return time_text(datetime.now(UTC))


def _document(image: Image) -> bytes:
    if image.locations == (NO_LOCATION,):
        image = replace(image, locations=())
    return new_record(image)
