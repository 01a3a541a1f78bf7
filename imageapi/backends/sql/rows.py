# SPDX-License-Identifier: Apache-2.0
"""The rows of an image -> its record."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from imageapi import document
from imageapi.backends.sql.locations import Encryption, metadata_of
from imageapi.backends.sql.schema import IMAGE, LOCATION, MEMBER, PROPERTY, Schema
from imageapi.errors import MalformedImage
from imageapi.image import NO_LOCATION, Image

_FLAGS = ("protected", "deleted")


@dataclass
class ImageRows:
    """The rows of one image.

    :ivar fields: the row of ``images``, by the names of its columns.
    :ivar properties: names and values.
    :ivar locations: values, metadata and numbers.
    :ivar members: the ids of projects.  They only count if the image is shared.
    """

    fields: Mapping[str, Any]
    properties: list[tuple[Any, Any]] = field(default_factory=list)
    locations: list[tuple[Any, Any, Any]] = field(default_factory=list)
    members: list[Any] = field(default_factory=list)

    @property
    def visibility(self) -> object:
        """One of Glance's four visibilities, unless the row is malformed."""
        if "visibility" in self.fields:
            return self.fields["visibility"]
        return "public" if _flag(self.fields["is_public"]) is True else "shared"

    @property
    def is_deleted(self) -> bool:
        """Whether the row is kept only until it is purged."""
        return _flag(self.fields["deleted"]) is not False

    def image(self, encryption: Encryption) -> Image:
        """Return the record.

        :raises MalformedImage: a row has a value that is not possible.
        """
        image_id = self.fields["id"]
        if self.visibility not in ("public", "shared", "private", "community"):
            raise MalformedImage(f"visibility must not be {self.visibility!r:.100}")
        if not all(isinstance(name, str) for name, _ in self.properties):
            raise MalformedImage("the name of a property must be a text")
        record = {
            **self.fields,
            **{name: _flag(self.fields[name]) for name in _FLAGS},
            "is_public": self.visibility == "public",
            "properties": dict(self.properties),
            "locations": [
                {"url": encryption.url(value), "metadata": metadata_of(metadata)}
                for value, metadata, _ in sorted(self.locations, key=_number_of)
            ],
            "members": self.members if self.visibility == "shared" else [],
        }
        # Otherwise the record would have the shape of v2.
        record.pop("visibility", None)
        image = document.image_of(record, image_id)
        return image if image.locations else replace(image, locations=(NO_LOCATION,))


def rows_of_record(schema: Schema, rows: Iterable[Any], image_id: str) -> ImageRows | None:
    """Return the rows that `Schema.record` has selected; None if there is no such image.

    Some databases find an id in other case or with blanks, so the ids are compared again.
    """
    rows = list(rows)
    fields = [dict(zip(schema.names, row[5:], strict=True)) for row in rows if row[0] == IMAGE]
    of_image = [one for one in fields if one["id"] == image_id]
    if not of_image:
        return None
    found = ImageRows(of_image[0])
    add_children({image_id: found}, rows)
    return found


def add_children(images: Mapping[str, ImageRows], rows: Iterable[Any]) -> None:
    """Add the rows of `Schema.children` to the images that they belong to."""
    for kind, image_id, first, second, third, *_ in rows:
        found = images.get(image_id)
        if found is None:
            continue
        if kind == PROPERTY:
            found.properties.append((first, second))
        elif kind == LOCATION:
            found.locations.append((first, second, third))
        elif kind == MEMBER:
            found.members.append(first)


def _number_of(location: tuple[Any, Any, Any]) -> int:
    return int(location[2])


def _flag(value: object) -> object:
    """Return True or False for the numbers that stand for them; any other value unchanged."""
    return bool(value) if value in (0, 1) else value
