# SPDX-License-Identifier: Apache-2.0
"""Rows that are no record are malformed, and nothing else is raised."""

import contextlib
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imageapi.backends.sql.locations import Encryption
from imageapi.backends.sql.rows import ImageRows, rows_of_record
from imageapi.backends.sql.schema import IMAGE_COLUMNS, Schema
from imageapi.errors import MalformedImage
from imageapi.image import NO_LOCATION, Image, Location

FIELDS: dict[str, Any] = {
    **dict.fromkeys(IMAGE_COLUMNS),
    "id": "one",
    "status": "active",
    "min_disk": 1,
    "min_ram": 2,
    "owner": "p",
    "size": 5,
    "protected": 1,
    "deleted": 0,
    "visibility": "shared",
    "os_hidden": 0,
    "created_at": "2026-01-02 03:04:05.000006",
}
NOT_ENCRYPTED = Encryption(None)


def test_record() -> None:
    rows = ImageRows(
        FIELDS,
        properties=[("a", "b"), ("none", None)],
        locations=[("file:///2", '{"store": "fast"}', "10"), ("file:///1", None, "9")],
        members=["m"],
    )
    image = rows.image(NOT_ENCRYPTED)
    assert image.locations == (Location("file:///1"), Location("file:///2", "fast"))
    assert image.properties == {"a": "b", "none": None}
    assert image.members == {"m"}
    assert image.created_at == datetime(2026, 1, 2, 3, 4, 5, 6)
    assert (image.protected, image.deleted, image.is_public) == (True, False, False)
    assert (image.size, image.min_disk, image.min_ram) == (5, 1, 2)
    assert image.unknown_keys == ()


@pytest.mark.parametrize("visibility", ["private", "public", "community"])
def test_members_only_count_while_an_image_is_shared(visibility: str) -> None:
    rows = ImageRows({**FIELDS, "visibility": visibility}, members=["m"])
    assert rows.image(NOT_ENCRYPTED).members == set()


def test_an_image_without_a_location_has_no_data() -> None:
    assert ImageRows(FIELDS).image(NOT_ENCRYPTED).locations == (NO_LOCATION,)


ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(max_size=9)
)


@given(st.sampled_from(sorted(FIELDS)), ANYTHING)
def test_any_value_in_a_column(name: str, value: object) -> None:
    rows = ImageRows({**FIELDS, name: value})
    with contextlib.suppress(MalformedImage):
        assert isinstance(rows.image(NOT_ENCRYPTED), Image)


@given(st.tuples(ANYTHING, ANYTHING), st.tuples(ANYTHING, ANYTHING), ANYTHING)
def test_any_value_in_other_tables(prop: Any, location: Any, member: Any) -> None:
    rows = ImageRows(FIELDS, [prop], [(*location, "1")], [member])
    with contextlib.suppress(MalformedImage):
        assert isinstance(rows.image(NOT_ENCRYPTED), Image)


def test_a_row_that_was_found_by_another_id() -> None:
    schema = Schema([*IMAGE_COLUMNS, "visibility", "os_hidden"])
    values = [FIELDS.get(name) for name in schema.names]
    row = ("image", None, None, None, None, *values)
    assert rows_of_record(schema, [row], "ONE") is None
    assert rows_of_record(schema, [row], "one ") is None
    assert rows_of_record(schema, [], "one") is None
    other = ("property", "ONE", "a", "b", None, *[None] * len(values))
    found = rows_of_record(schema, [row, other], "one")
    assert found is not None
    assert found.properties == []
