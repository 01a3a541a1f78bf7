# SPDX-License-Identifier: Apache-2.0
from typing import Any

import pytest

from imageapi.backends.sql.locations import Encryption
from imageapi.backends.sql.row_values import image_values, location_values, property_texts
from imageapi.backends.sql.schema import IMAGE_COLUMNS, Schema
from imageapi.backends.writing import WriteError
from imageapi.image import Location
from tests.unit.backends.sql.images import stored

SCHEMA = Schema([*IMAGE_COLUMNS, "visibility", "os_hash_algo"])


def test_only_columns_that_are_there_have_values() -> None:
    values = image_values(SCHEMA, stored(os_hash_algo="md5", os_hash_value="ff"))
    assert values["os_hash_algo"] == "md5"
    assert "os_hash_value" not in values
    assert values["created_at"] == "2010-02-03 00:00:00.000000"


@pytest.mark.parametrize(
    ("image_id", "values", "problem"),
    [
        ("x" * 37, {}, "id has 37 characters; the database takes 36"),
        ("\N{SNOWMAN}", {}, "must be ASCII"),
        ("one", {"name": "x" * 256}, "name has 256 characters; the database takes 255"),
        ("one", {"disk_format": "x" * 21}, "disk_format has 21 characters"),
        ("one", {"size": 2**63}, "size is 9223372036854775808; the database takes less"),
        ("one", {"min_ram": 2**31}, "min_ram is 2147483648"),
    ],
)
def test_a_value_that_does_not_fit(image_id: str, values: dict[str, Any], problem: str) -> None:
    with pytest.raises(WriteError, match=problem):
        image_values(SCHEMA, stored(image_id, **values))


def test_properties_are_texts() -> None:
    properties = {"a": 5, "b": None, "c": [True], "d": "\ud800"}
    texts = {"a": "5", "c": "[true]", "d": "\N{REPLACEMENT CHARACTER}"}
    assert property_texts(stored(properties=properties)) == texts
    with pytest.raises(WriteError, match="a name of 256 characters"):
        property_texts(stored(properties={"x" * 256: "y"}))


def test_a_location_with_and_without_a_store() -> None:
    plain = Encryption(None)
    named = location_values(Location("file:///x", "fast"), plain)
    assert named == {"value": "file:///x", "meta_data": '{"store": "fast"}', "status": "active"}
    assert location_values(Location("file:///x"), plain)["meta_data"] == "{}"
    assert location_values(Location("file:///x"), Encryption("k" * 16))["value"] != "file:///x"
