# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imageapi import document
from imageapi.document.editing import changed, new_record
from imageapi.errors import ImageAPIError, MalformedImage
from imageapi.image import Image

V1 = {"id": "i", "status": "active", "is_public": True, "size": "4", "properties": {"a": "b"}}
V2 = {"id": "i", "status": "active", "visibility": "public", "size": 4, "a": "b", "tags": ["t"]}

SHAPES: list[Any] = [
    V1,
    {"images": [V1]},
    {"image": V1},
    {"images": [V1], "next": "x"},
    V2,
    {"images": [V2]},
    {"image": V2},
]


def inner_of(outer: Any) -> dict[str, Any]:
    inner: dict[str, Any] = outer
    if "images" in outer:
        inner = outer["images"][0]
    elif "image" in outer:
        inner = outer["image"]
    return inner


def edited(outer: Any, fields: dict[str, Any], **more: Any) -> dict[str, Any]:
    new: dict[str, Any] = json.loads(changed(json.dumps(outer).encode(), "i", fields, **more))
    return new


@pytest.mark.parametrize("outer", SHAPES)
def test_shape_stays(outer: Any) -> None:
    new = edited(outer, {"name": "n"}, properties={"c": "d"}, removed_properties=["a"])
    if inner_of(outer) is not outer:
        assert new.keys() == outer.keys()
    image = document.parse(json.dumps(new).encode(), "i")
    assert (image.name, dict(image.properties)) == ("n", {"c": "d"})
    assert inner_of(new)["size"] == inner_of(outer)["size"]


@pytest.mark.parametrize("outer", SHAPES)
def test_visibility(outer: Any) -> None:
    new = edited(outer, {"is_public": False})
    assert not document.parse(json.dumps(new).encode(), "i").is_public
    assert ("visibility" in inner_of(new)) == ("visibility" in inner_of(outer))
    assert ("is_public" in inner_of(new)) == ("is_public" in inner_of(outer))


@pytest.mark.parametrize("outer", [V1, V2])
def test_unknown_keys_stay(outer: Any) -> None:
    more = {"x": {"y": [1, 2.5, None, "ü"]}, "os_hidden": True, "stores": "fast"}
    new = edited({**outer, **more}, {"name": "n"})
    assert {name: new[name] for name in more} == more


def test_time_of_the_change() -> None:
    image = document.parse(changed(json.dumps(V1).encode(), "i", {}), "i")
    assert image.updated_at is not None
    assert abs(datetime.now(UTC).replace(tzinfo=None) - image.updated_at).total_seconds() < 60


def test_none_removes_a_key() -> None:
    assert "size" not in edited(V1, {"size": None, "location": None})


def test_byte_order_mark() -> None:
    record = b"\xef\xbb\xbf" + json.dumps(V1).encode()
    assert document.parse(changed(record, "i", {"name": "n"}), "i").name == "n"


def test_lone_surrogate_stays() -> None:
    new = edited({**V1, "properties": {"a": "\ud800"}}, {"name": "n"})
    assert new["properties"] == {"a": "\ud800"}


@pytest.mark.parametrize("outer", [V1, V2])
def test_property_that_is_absent(outer: Any) -> None:
    with pytest.raises(ImageAPIError, match="there is no property 'c'"):
        edited(outer, {}, removed_properties=["c"])


def test_properties_of_a_record_without_any() -> None:
    record = {"status": "active", "properties": None}
    assert edited(record, {}, properties={"a": "b"})["properties"] == {"a": "b"}


@pytest.mark.parametrize("name", ["size", "visibility", "os_hidden", "location"])
def test_property_with_the_name_of_a_field(name: str) -> None:
    """In v1 it is a property like any other; in v2 it would be the field."""
    assert edited(V1, {}, properties={name: "x"})["properties"][name] == "x"
    for change in ({"properties": {name: "x"}}, {"removed_properties": [name]}):
        with pytest.raises(ImageAPIError, match=f"'{name}' is no property in a record of the v2"):
            edited(V2, {}, **change)


def test_members_in_v2() -> None:
    """A text is a custom property of Glance's; a list is our field."""
    assert edited(V2, {"members": ["p"]})["members"] == ["p"]
    assert edited(V2, {}, properties={"members": "x"})["members"] == "x"
    with pytest.raises(ImageAPIError, match="has a property 'members': remove it first"):
        edited({**V2, "members": "x"}, {"members": ["p"]})
    with pytest.raises(ImageAPIError, match="'members' is no property"):
        edited({**V2, "members": ["p"]}, {}, properties={"members": "x"})


@pytest.mark.parametrize("record", [b"{", b"[]", b'{"status": "stauts"}', b'{"images": []}'])
def test_malformed_record(record: bytes) -> None:
    with pytest.raises(MalformedImage):
        changed(record, "i", {"name": "n"})


def test_change_that_would_be_malformed() -> None:
    with pytest.raises(MalformedImage, match="min_disk must be a whole number"):
        edited(V1, {"min_disk": -1})


def test_record_of_another_image() -> None:
    with pytest.raises(MalformedImage, match="the record of another image"):
        changed(json.dumps(V1).encode(), "j", {})


def test_new_record() -> None:
    image = Image(id="i", status="active", is_public=True, properties={"a": "b"}, size=4)
    assert document.parse(new_record(image), "i") == image
    with pytest.raises(MalformedImage, match="min_disk"):
        new_record(dataclasses.replace(image, min_disk=-1))


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    # "\ud800" and the like are possible in JSON.
    | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
texts = st.none() | st.text(st.characters(exclude_categories=()))
common = {
    "name": texts,
    "owner": texts,
    "disk_format": texts,
    "min_ram": st.integers(0, 10**9),
    "size": st.none() | st.integers(0, 10**12) | st.integers(0, 10**12).map(str),
    "created_at": st.none() | st.datetimes().map(lambda time: time.isoformat(" ")),
    "location": st.sampled_from([None, "", "file:///x"]),
    "protected": st.booleans(),
}
any_properties = st.dictionaries(st.text(), json_values, max_size=4)
v1_records = st.builds(
    lambda fields, properties, unknown: {"status": "active", **unknown, **fields, **properties},
    st.fixed_dictionaries({}, optional={**common, "is_public": st.booleans()}),
    st.fixed_dictionaries({}, optional={"properties": any_properties}),
    st.dictionaries(st.just("x"), json_values),
)
v2_records = st.builds(
    lambda fields, properties, visibility: {
        **{f"p{name}": value for name, value in properties.items()},
        "status": "active",
        **fields,
        "visibility": visibility,
    },
    st.fixed_dictionaries({}, optional=common),
    any_properties,
    st.sampled_from(["public", "private", "shared", "community"]),
)
changes = st.fixed_dictionaries({}, optional={"name": st.text(), "min_disk": st.integers(0, 99)})


@given(v1_records | v2_records, st.sampled_from(["", "images", "image"]), changes, st.booleans())
def test_everything_else_of_the_image_stays(
    inner: dict[str, Any], wrapper: str, fields: dict[str, Any], escapes: bool
) -> None:
    wrapped: Any = {"images": {"images": [inner]}, "image": {"image": inner}}.get(wrapper, inner)
    old = json.dumps(wrapped).encode()
    if not escapes:
        old = json.dumps(wrapped, ensure_ascii=False).encode(errors="replace")
    before = document.parse(old, "i")
    after = document.parse(changed(old, "i", fields), "i")
    expected = dataclasses.replace(before, updated_at=after.updated_at, **fields)
    assert after == expected
