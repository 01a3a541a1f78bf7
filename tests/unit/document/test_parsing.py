# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imageapi import document
from imageapi.errors import MalformedImage
from imageapi.image import STATUSES, Image, Location

V2 = {
    "id": "i",
    "name": "cirros",
    "status": "active",
    "visibility": "public",
    "protected": False,
    "checksum": "eb9139e4942121f22bbc2afc0400b2a4",
    "os_hash_algo": "sha512",
    "os_hash_value": "ABCDEF",
    "owner": "p1",
    "size": 12,
    "virtual_size": None,
    "container_format": "bare",
    "disk_format": "qcow2",
    "created_at": "2015-11-29T22:21:42Z",
    "updated_at": "2015-11-29T23:21:42+01:00",
    "tags": ["x"],
    "self": "/v2/images/i",
    "file": "/v2/images/i/file",
    "schema": "/v2/schemas/image",
    "min_ram": 0,
    "min_disk": 0,
    "os_hidden": False,
    "stores": "fast,slow",
    "direct_url": "file:///x",
    "hw_disk_bus": "scsi",
    "members": "a custom property",
    "is_public": "a custom property",
}


def parse(image_id: str = "i", **fields: Any) -> Image:
    return document.parse(json.dumps({"status": "active", **fields}).encode(), image_id)


def test_flat_v2_shape() -> None:
    image = document.parse(json.dumps(V2).encode(), "i")
    assert image == Image(
        id="i",
        status="active",
        name="cirros",
        is_public=True,
        checksum="eb9139e4942121f22bbc2afc0400b2a4",
        os_hash_algo="sha512",
        os_hash_value="ABCDEF",
        owner="p1",
        size=12,
        container_format="bare",
        disk_format="qcow2",
        created_at=datetime(2015, 11, 29, 22, 21, 42),
        updated_at=datetime(2015, 11, 29, 22, 21, 42),
        locations=(Location("file:///x"),),
        properties={
            "hw_disk_bus": "scsi",
            "members": "a custom property",
            "is_public": "a custom property",
        },
    )


@pytest.mark.parametrize("visibility", ["private", "shared", "community"])
def test_only_public_is_public(visibility: str) -> None:
    assert not parse(visibility=visibility).is_public


def test_least_record_is_private() -> None:
    assert parse() == Image(id="i", status="active")


@pytest.mark.parametrize(
    "wrap", [lambda one: one, lambda one: {"images": [one]}, lambda one: {"image": one}]
)
def test_v1_shape(wrap: Any) -> None:
    fields = {"status": "active", "is_public": True, "size": "007", "members": ["p1"], "owner": ""}
    data = json.dumps(wrap(fields)).encode()
    expected = Image(
        id="i", status="active", is_public=True, size=7, members=frozenset({"p1"}), owner=None
    )
    assert document.parse(data, "i") == expected


@pytest.mark.parametrize(
    ("fields", "urls"),
    [
        ({"location": "a:1"}, [Location("a:1")]),
        ({"locations": ["a:1", "b:2"]}, [Location("a:1"), Location("b:2")]),
        ({"locations": [{"url": "a:1", "metadata": {"store": "s"}}]}, [Location("a:1", "s")]),
        ({"locations": [{"url": "a:1", "metadata": {}}]}, [Location("a:1")]),
        ({"locations": [{"url": "a:1"}], "location": "b:2"}, [Location("a:1")]),
        ({"locations": [], "location": "b:2"}, [Location("b:2")]),
        ({"location": {"url": "a:1", "metadata": {"store": "s"}}}, [Location("a:1", "s")]),
        ({"location": ""}, []),
        ({"location": None, "locations": None}, []),
    ],
)
def test_locations(fields: dict[str, Any], urls: list[Location]) -> None:
    assert list(parse(**fields).locations) == urls


def nested(depth: int) -> Any:
    """A list in a list in a list."""
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"status": None}, "status must be one of active, .*, not null"),
        ({"status": "Active"}, "not 'Active'"),
        ({"id": "x"}, "record of another image, 'x'"),
        ({"id": 1}, "id must be a text or null, not 1"),
        ({"name": ["x"]}, "name must be a text or null, not a list"),
        ({"is_public": "true"}, "is_public must be true or false, not 'true'"),
        ({"is_public": None}, "is_public must be true or false, not null"),
        ({"protected": 0}, "protected must be true or false, not 0"),
        ({"deleted": "no"}, "deleted must be"),
        ({"size": -1}, "size must be a whole number, 0 or more, not -1"),
        ({"size": True}, "size must be"),
        ({"size": 1.0}, "size must be"),
        ({"size": "\u0661"}, "size must be"),
        ({"size": "9" * 20}, "size must be"),
        ({"min_ram": "a"}, "min_ram must be"),
        ({"virtual_size": {}}, "virtual_size must be .*, not an object"),
        ({"checksum": "abc"}, "checksum must be an MD5"),
        ({"checksum": "g" * 32}, "checksum must be an MD5"),
        ({"created_at": 5}, "created_at must be a time"),
        ({"updated_at": "0001-01-01T00:00:00+14:00"}, "updated_at must be a time"),
        ({"properties": "x"}, "properties must be a JSON object"),
        ({"members": "p1"}, "members must be a list"),
        ({"members": [1]}, "members must be a list"),
        ({"os_hash_algo": "sha512"}, "must both be set, or neither"),
        ({"os_hash_algo": "md5", "os_hash_value": "x"}, "os_hash_value must consist of hex"),
        ({"visibility": 1}, "visibility must be one of"),
        ({"locations": {}}, "locations must be a list"),
        ({"location": 0}, "a location must be a URL"),
        ({"location": False}, "a location must be a URL"),
        ({"location": {}}, "a location must be a URL"),
        ({"visibility": "public", "direct_url": []}, "a location must be a URL"),
        ({"locations": [{"uri": "x"}]}, "a location must be a URL"),
        ({"locations": [{"url": "x", "metadata": {"store": 1}}]}, "its store a text"),
        ({"locations": [{"url": "x", "metadata": "s"}]}, "metadata must be an object"),
        ({"properties": {"a": nested(101)}}, "properties are nested more than 100 levels deep"),
        ({"visibility": "public", "a": {"b": nested(100)}}, "nested more than 100 levels deep"),
    ],
)
def test_malformed(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(MalformedImage, match=reason):
        parse(**fields)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"properties": {str(number): "" for number in range(3000)}}, "more than 3000 values"),
        ({"members": [""] * 3000}, "more than 3000 values"),
        ({"ignored": [1] * 3000}, "more than 3000 values"),
        ({"properties": {"a": [[]] * 1500}}, "more than 3000 values"),
        ({"properties": {"a": [{"": {}}] * 1000}}, "more than 3000 values"),
        ({"locations": ["x:"] * 33}, "locations must have at most 32 entries, not 33"),
    ],
)
def test_too_many_values(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(MalformedImage, match=reason):
        parse(**fields)


def test_key_that_is_there_too_often() -> None:
    with pytest.raises(MalformedImage, match="more than 3000 values"):
        document.parse(b'{"status": "active"' + b', "a": 1' * 3000 + b"}", "i")


@pytest.mark.parametrize(
    "fields",
    [
        {"properties": {str(number): "" for number in range(2900)}},
        {"members": [""] * 2900},
        {"name": ',[{"' * 100_000},
        {"name": "\\" * 100_000 + "," * 3000},
        {"properties": {'"' + ",[{" * 1000: ",\n" * 1500}},
        {"locations": ["x:"] * 32},
    ],
)
def test_values_that_are_few_enough(fields: dict[str, Any]) -> None:
    """Commas and brackets inside of strings do not count."""
    document.details(parse(**fields), "")


@pytest.mark.parametrize("digits", [309, 310])
def test_digits_of_a_whole_number(digits: int) -> None:
    data = b'{"status": "active", "properties": {"a": -%s}}' % (b"9" * digits)
    if digits == 309:
        assert document.parse(data, "i").properties["a"] == 1 - 10**309
        return
    with pytest.raises(MalformedImage, match=r"not JSON: -9{39} is too large a number"):
        document.parse(data, "i")


def test_nesting_that_is_deep_enough() -> None:
    image = parse(properties={"a": nested(100), "b": {"c": nested(99)}})
    (details,) = document.details(image, "")["images"]
    assert details["properties"]["a"] == "[" * 100 + "]" * 100


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b'{"status": NaN}',
        b'{"size": 1e999}',
        b"[" * 2900,
        b'{"size": ' + b"9" * 5000,
        b'{"a": "'
        + b'\\"' * 400_000,  # no closing quote: a slow search would start again at each quote
    ],
)
def test_not_json(data: bytes) -> None:
    with pytest.raises(MalformedImage, match="not JSON"):
        document.parse(data, "i")


@pytest.mark.parametrize(
    ("data", "byte", "offset"),
    [
        (b"\xff", "ff", 0),
        ('{"name": "Caf\xe9"}'.encode("latin-1"), "e9", 13),
        (b"\xef\xbb\xbf" + '{"name": "Caf\xe9"}'.encode("latin-1"), "e9", 16),
        ('{"name": "\N{SNOWMAN}'.encode()[:-1], "e2", 10),
    ],
)
def test_not_utf8(data: bytes, byte: str, offset: int) -> None:
    with pytest.raises(MalformedImage) as caught:
        document.parse(data, "i")
    told = f"not UTF-8: byte 0x{byte} at offset {offset}; encode the text in UTF-8"
    assert str(caught.value) == told


@pytest.mark.parametrize("location", [5, {"url": "s3cret:x", "metadata": {"store": 5}}])
def test_location_is_not_shown(location: Any) -> None:
    with pytest.raises(MalformedImage) as caught:
        parse(location=location)
    assert "s3cret" not in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
NAMES = st.sampled_from([*V2, "properties", "location", "members", "deleted", "deleted_at"])


@given(st.dictionaries(NAMES, JSON) | JSON)
def test_any_json_is_an_image_or_malformed(value: Any) -> None:
    try:
        image = document.parse(json.dumps(value).encode(), "i")
    except MalformedImage:
        return
    assert image.status in STATUSES
    document.details(image, "uri")


@given(st.binary())
def test_any_bytes_are_an_image_or_malformed(data: bytes) -> None:
    with pytest.raises(MalformedImage):
        document.parse(data, "i")


def test_image_accepts_the_values_of_a_record() -> None:
    """`parse` alone checks them, and `replace` has them checked by the image."""
    record = {
        "status": "active",
        "size": "5",
        "checksum": "0Aa" + "0" * 29,
        "os_hash_algo": "sha512",
        "os_hash_value": "0Aa",
        "created_at": "2010-02-03T09:34:01+01:00",
        "properties": {"a": {"b": []}},
        "locations": ["file:///a", {"url": "file:///b", "metadata": {"store": "s"}}],
        "members": ["p1"],
    }
    image = document.parse(json.dumps(record).encode(), "i")
    assert dataclasses.replace(image) == image
