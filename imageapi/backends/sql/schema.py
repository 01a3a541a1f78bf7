# SPDX-License-Identifier: Apache-2.0
"""Glance's tables, as far as a registry reads them, in the schema that a database has.

No column has a type, so rows contain what the driver returns, and nothing fails on the way.
"""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    CompoundSelect,
    Select,
    TableClause,
    Text,
    bindparam,
    cast,
    column,
    false,
    literal_column,
    null,
    select,
    table,
    union_all,
)
from sqlalchemy.types import UserDefinedType

IMAGE_COLUMNS = (
    *("id", "name", "status", "disk_format", "container_format", "size", "virtual_size"),
    *("checksum", "min_disk", "min_ram", "owner", "protected"),
    *("created_at", "updated_at", "deleted_at", "deleted"),
)

#: Columns of `images` that not each version of Glance has.  Mitaka has ``is_public``.
LATER_COLUMNS = ("visibility", "is_public", "os_hidden", "os_hash_algo", "os_hash_value")


class AsGiven(UserDefinedType[Any]):
    """The type of a value that the driver passes on as a text, for the database to convert.

    SQLAlchemy would tell PostgreSQL that a text is a VARCHAR, and not an enum or a time.
    """

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Return what a statement that makes a table would contain; none is made."""
        return "TEXT"


_AS_GIVEN = frozenset({"visibility", "created_at", "updated_at", "deleted_at"})


def _table(name: str, columns: Iterable[str]) -> TableClause:
    return table(name, *(column(one, AsGiven() if one in _AS_GIVEN else None) for one in columns))


#: The columns that each table of Glance has.
_COMMON = ("image_id", "created_at", "updated_at", "deleted_at", "deleted")

PROPERTIES = _table("image_properties", (*_COMMON, "name", "value"))
LOCATIONS = _table("image_locations", (*_COMMON, "id", "value", "meta_data", "status"))
MEMBERS = _table("image_members", (*_COMMON, "member", "status", "can_share"))
TAGS = _table("image_tags", _COMMON)

#: What the first column of a row says that the row is of.
IMAGE, PROPERTY, LOCATION, MEMBER = "image", "property", "location", "member"


class Schema:
    """The table of images with its columns, and the statements that read one record."""

    def __init__(self, columns: Iterable[str]) -> None:
        """:param columns: the names of the columns of ``images`` in the database."""
        there = set(columns)
        self.names = (*IMAGE_COLUMNS, *(name for name in LATER_COLUMNS if name in there))
        self.images = _table("images", self.names)
        #: Takes ``image_id``; returns rows of every kind.
        self.record = self._record()
        #: Takes a list ``image_ids``; returns rows of every kind but `IMAGE`.
        self.children = union_all(
            *_children(bindparam("image_ids", expanding=True), is_several=True)
        )

    @property
    def has_visibility(self) -> bool:
        """Whether images can be shared or not, and be of a community."""
        return "visibility" in self.names

    def _record(self) -> CompoundSelect[Any]:
        """One statement, so that a record takes one round trip."""
        images = self.images
        image_id: BindParameter[Any] = bindparam("image_id")
        no_child = [cast(null(), Text).label(name) for name in ("of", "a", "b", "c")]
        image = select(_kind(IMAGE), *no_child, *(images.c[name] for name in self.names))
        no_image = [null().label(name) for name in self.names]
        children = [one.add_columns(*no_image) for one in _children(image_id)]
        return union_all(image.where(images.c.id == image_id), *children)


def _children(image_id: Any, *, is_several: bool = False) -> list[Select[Any]]:
    """Select what belongs to images: ``kind, of, a, b, c``.

    :param image_id: the parameter with the id, or with a list of ids.
    """
    values: tuple[tuple[str, Any, Iterable[ColumnElement[Any]]], ...] = (
        (PROPERTY, PROPERTIES, (PROPERTIES.c.name, PROPERTIES.c.value, null())),
        (LOCATION, LOCATIONS, (LOCATIONS.c.value, LOCATIONS.c.meta_data, LOCATIONS.c.id)),
        (MEMBER, MEMBERS, (MEMBERS.c.member, MEMBERS.c.status, null())),
    )
    selects = []
    for kind, source, columns in values:
        texts = [cast(one, Text) for one in columns]
        is_child = source.c.image_id.in_(image_id) if is_several else source.c.image_id == image_id
        chosen = select(_kind(kind), source.c.image_id, *texts)
        selects.append(chosen.where(is_child, source.c.deleted == false()))
    selects[1] = selects[1].where(LOCATIONS.c.status == "active")
    return selects


def _kind(kind: str) -> ColumnElement[Any]:
    return literal_column(f"'{kind}'").label("kind")
