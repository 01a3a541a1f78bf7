# SPDX-License-Identifier: Apache-2.0
"""Changes the rows that belong to an image: properties, locations and members.

Glance keeps a row that is deleted, and uses a property's row again.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, TableClause, false, insert, select, update

from imageapi.backends.sql.locations import Encryption, metadata_of
from imageapi.backends.sql.row_values import location_values, property_texts
from imageapi.backends.sql.schema import LOCATIONS, MEMBERS, PROPERTIES
from imageapi.image import Image, Location


class ChildRows:
    """The rows of one image, in a transaction."""

    def __init__(self, connection: Connection, image_id: str, now: str) -> None:
        """:param now: the present time, as the database has it."""
        self._connection = connection
        self._image_id = image_id
        self._now = now

    def write_properties(self, image: Image) -> None:
        """Write the properties that an image has now.

        :raises WriteError: a name does not fit into its column.
        """
        wanted = property_texts(image)
        columns = PROPERTIES.c.name, PROPERTIES.c.value, PROPERTIES.c.deleted
        rows = self._connection.execute(
            select(*columns).where(PROPERTIES.c.image_id == self._image_id)
        )
        known = {name: (value, bool(deleted)) for name, value, deleted in rows}
        for name, text in wanted.items():
            if name not in known:
                self._insert(PROPERTIES, {"name": name, "value": text})
            elif known[name] != (text, False):
                self._update(PROPERTIES, "name", name, {"value": text, **self._kept()})
        for name, (_, is_deleted) in known.items():
            if name not in wanted and not is_deleted:
                self._update(PROPERTIES, "name", name, self._gone())

    def write_locations(self, image: Image, encryption: Encryption) -> None:
        """Write the locations that an image has now; leave those that it had before."""
        columns = LOCATIONS.c.id, LOCATIONS.c.value, LOCATIONS.c.meta_data
        known = {
            Location(encryption.url(value), metadata_of(metadata).get("store")): number
            for number, value, metadata in self._rows(LOCATIONS, *columns)
        }
        for location, number in known.items():
            if location not in image.locations:
                self._update(LOCATIONS, "id", number, {**self._gone(), "status": "deleted"})
        for location in image.locations:
            if location not in known:
                self._insert(LOCATIONS, location_values(location, encryption))

    def write_members(self, image: Image) -> None:
        """Write the members that an image has now."""
        known = {member for (member,) in self._rows(MEMBERS, MEMBERS.c.member)}
        for member in known - image.members:
            self._update(MEMBERS, "member", member, self._gone())
        for member in sorted(image.members - known):
            self._insert(MEMBERS, {"member": member, "status": "accepted", "can_share": False})

    def delete(self, table: TableClause) -> None:
        """Delete all rows of a table that belong to the image."""
        status = {"status": "deleted"} if table is LOCATIONS else {}
        belongs = table.c.image_id == self._image_id, table.c.deleted == false()
        self._connection.execute(update(table).where(*belongs).values({**self._gone(), **status}))

    def _rows(self, table: TableClause, *columns: Any) -> Any:
        belongs = table.c.image_id == self._image_id, table.c.deleted == false()
        return self._connection.execute(select(*columns).where(*belongs)).all()

    def _insert(self, table: TableClause, values: Mapping[str, Any]) -> None:
        row = {"image_id": self._image_id, "created_at": self._now, **self._kept(), **values}
        self._connection.execute(insert(table).values(row))

    def _update(self, table: TableClause, name: str, value: Any, new: Mapping[str, Any]) -> None:
        row = update(table).where(table.c.image_id == self._image_id, table.c[name] == value)
        if table is MEMBERS:
            row = row.where(table.c.deleted == false())
        self._connection.execute(row.values(dict(new)))

    def _kept(self) -> dict[str, Any]:
        return {"updated_at": self._now, "deleted_at": None, "deleted": False}

    def _gone(self) -> dict[str, Any]:
        return {"updated_at": self._now, "deleted_at": self._now, "deleted": True}
