# SPDX-License-Identifier: Apache-2.0
"""Glance's tables, as its migrations make them, and images in them.

Real ones are made by Glance's own command, in tests/functional.
"""

import json
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL

from imageapi.image import Image
from imageapi.protocol.value_text import in_utc, text_of

METADATA = sa.MetaData()

_VISIBILITIES = ("private", "public", "shared", "community")


def _common() -> list[sa.Column[Any]]:
    return [
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("updated_at", sa.DateTime),
        sa.Column("deleted_at", sa.DateTime),
        sa.Column("deleted", sa.Boolean, nullable=False, index=True),
    ]


def _child(name: str, *columns: sa.Column[Any] | sa.UniqueConstraint) -> sa.Table:
    number = sa.Column("id", sa.Integer, primary_key=True)
    parent = sa.ForeignKey("images.id")
    image_id: sa.Column[Any] = sa.Column("image_id", parent, nullable=False, index=True)
    columns = (number, image_id, *_common(), *columns)
    return sa.Table(name, METADATA, *columns, mysql_charset="utf8mb3")


IMAGES = sa.Table(
    "images",
    METADATA,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("name", sa.String(255)),
    sa.Column("disk_format", sa.String(20)),
    sa.Column("container_format", sa.String(20)),
    sa.Column("size", sa.BigInteger),
    sa.Column("virtual_size", sa.BigInteger),
    sa.Column("status", sa.String(30), nullable=False),
    sa.Column("visibility", sa.Enum(*_VISIBILITIES, name="image_visibility"), nullable=False),
    sa.Column("checksum", sa.String(32)),
    sa.Column("os_hash_algo", sa.String(64)),
    sa.Column("os_hash_value", sa.String(128)),
    sa.Column("min_disk", sa.Integer, nullable=False),
    sa.Column("min_ram", sa.Integer, nullable=False),
    sa.Column("owner", sa.String(255), index=True),
    sa.Column("protected", sa.Boolean, nullable=False),
    sa.Column("os_hidden", sa.Boolean, nullable=False),
    *_common(),
    sa.Index("created_at_image_idx", "created_at"),
    mysql_charset="utf8mb3",
)
PROPERTIES = _child(
    "image_properties",
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("value", sa.Text),
    sa.UniqueConstraint("image_id", "name"),
)
LOCATIONS = _child(
    "image_locations",
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("meta_data", sa.Text),
    sa.Column("status", sa.String(30), nullable=False),
)
MEMBERS = _child(
    "image_members",
    sa.Column("member", sa.String(255), nullable=False),
    sa.Column("can_share", sa.Boolean, nullable=False),
    sa.Column("status", sa.String(20), nullable=False),
    sa.UniqueConstraint("image_id", "member", "deleted_at"),
)
_child("image_tags", sa.Column("value", sa.String(255), nullable=False))


class GlanceTables:
    """The tables in a database, which one test uses."""

    def __init__(self, url: str | URL) -> None:
        """Make the tables that are missing."""
        self.engine = sa.create_engine(url)
        METADATA.create_all(self.engine)

    def clear(self) -> None:
        """Delete all rows."""
        with self.engine.begin() as connection:
            for table in reversed(METADATA.sorted_tables):
                connection.execute(table.delete())

    def close(self) -> None:
        self.engine.dispose()

    def put(self, image: Image, **values: Any) -> None:
        """Add an image, or replace the one with the same id.

        :param values: of the row of ``images``, if they differ.
        """
        with self.engine.begin() as connection:
            _remove(connection, image.id)
            connection.execute(IMAGES.insert().values({**_image_row(image), **values}))
            times = {"image_id": image.id, "created_at": _image_row(image)["created_at"]}
            times["deleted"] = False
            for name, value in image.properties.items():
                row = {**times, "name": name, "value": text_of(value)}
                connection.execute(PROPERTIES.insert().values(row))
            for location in image.locations:
                metadata = {} if location.store is None else {"store": location.store}
                row = {**times, "value": location.url, "meta_data": json.dumps(metadata)}
                connection.execute(LOCATIONS.insert().values(status="active", **row))
            for member in image.members:
                row = {**times, "member": member, "can_share": False, "status": "accepted"}
                connection.execute(MEMBERS.insert().values(row))

    def remove(self, image_id: str) -> None:
        """Remove all rows of an image."""
        with self.engine.begin() as connection:
            _remove(connection, image_id)

    def change(self, table: sa.Table, image_id: str, **values: Any) -> None:
        """Give all rows of an image in a table other values."""
        column = table.c.id if table is IMAGES else table.c.image_id
        with self.engine.begin() as connection:
            connection.execute(table.update().where(column == image_id).values(values))


def _remove(connection: sa.Connection, image_id: str) -> None:
    for table in (PROPERTIES, LOCATIONS, MEMBERS):
        connection.execute(table.delete().where(table.c.image_id == image_id))
    connection.execute(IMAGES.delete().where(IMAGES.c.id == image_id))


def _image_row(image: Image) -> dict[str, Any]:
    same = (
        *("id", "name", "disk_format", "container_format", "size", "virtual_size", "status"),
        *("checksum", "os_hash_algo", "os_hash_value", "min_disk", "min_ram", "owner"),
        *("protected", "deleted"),
    )
    times = {name: getattr(image, name) for name in ("created_at", "updated_at", "deleted_at")}
    return {
        **{name: getattr(image, name) for name in same},
        **{name: value and in_utc(value) for name, value in times.items()},
        "visibility": "public" if image.is_public else "shared",
        "os_hidden": False,
    }
