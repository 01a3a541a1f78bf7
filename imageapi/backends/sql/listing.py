# SPDX-License-Identifier: Apache-2.0
"""A list's query -> the statements for its pages, and the records that they find.

A page begins after the position of the last row, and is not counted from the first one, so
the last page takes no longer than the first.
"""

import logging
from collections.abc import Generator, Iterator, Mapping
from typing import Any

from sqlalchemy import false, select

from imageapi.backends.listing import ListQuery
from imageapi.backends.sql.list_statement import ListStatement, time_text
from imageapi.backends.sql.locations import Encryption
from imageapi.backends.sql.rows import ImageRows, add_children
from imageapi.backends.sql.tables import Tables
from imageapi.errors import MalformedImage
from imageapi.image import Image

LOG = logging.getLogger(__name__)

# How many ids a statement returns at most.
_IDS_AT_ONCE = 1000


def images(
    tables: Tables, query: ListQuery, encryption: Encryption
) -> Generator[Image, None, None]:
    """Yield the images that a query describes, in its order."""
    schema = tables.schema()
    # Some databases compare texts by other rules, so each record is compared again.
    matches = query.matching()
    after = None if query.after is None else _place_of(tables, query.after)
    statement = ListStatement(schema, tables.database.dialect, query)
    while True:
        batch = tables.read(statement.page(after), {})
        found = {row[0]: ImageRows(dict(zip(schema.names, row, strict=True))) for row in batch}
        if found:
            add_children(found, tables.read(schema.children, {"image_ids": list(found)}))
        for image_id, rows in found.items():
            try:
                image = rows.image(encryption)
            except MalformedImage as error:
                LOG.error("a list: image %r is left out: %s", image_id, error)
                continue
            if matches(image):
                yield image
        if len(batch) < statement.size:
            return
        after = dict(zip(schema.names, batch[-1], strict=True))


def image_ids(tables: Tables) -> Iterator[str]:
    """Yield the ids of all images that Glance has not deleted."""
    schema = tables.schema()
    ids = schema.images.c.id
    last = ""
    while True:
        wanted = select(ids).where(schema.images.c.deleted == false(), ids > last)
        batch = [row[0] for row in tables.read(wanted.order_by(ids).limit(_IDS_AT_ONCE), {})]
        yield from batch
        if len(batch) < _IDS_AT_ONCE:
            return
        last = batch[-1]


def _place_of(tables: Tables, image: Image) -> Mapping[str, Any]:
    """Return the row of the image after which a list begins, as the database has it."""
    schema = tables.schema()
    row = tables.read(select(*schema.images.c).where(schema.images.c.id == image.id), {})
    if row:
        return dict(zip(schema.names, row[0], strict=True))
    # It was purged a moment ago.
    return {
        name: time_text(value) if hasattr(value, "isoformat") else value
        for name in schema.names
        for value in [getattr(image, name, None)]
    }
