# SPDX-License-Identifier: Apache-2.0
import json
import tracemalloc
from types import MappingProxyType
from typing import Any

import pytest

from imageapi.errors import MalformedImage
from imageapi.image import Image, Location, is_image_id, weight_of
from imageapi.visibility import Visibility

SECRET_URL = "swift+https://acct:us%65r:pa/ss@host:8080/v1/c/o?temp_url_sig=s1g#frag"


def test_location_never_shows_itself() -> None:
    location = Location(SECRET_URL, "store")
    image = Image(id="i", status="active", locations=(location,))
    for shown in (repr(location), str(location), f"{location}", repr(image), str([location])):
        assert "host" not in shown
        assert "pa/ss" not in shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (SECRET_URL, "swift+https://host:8080/v1/c/o"),
        ("file:///a/b", "file:///a/b"),
        ("https://host/a?sig=x@y/z", "https://y/z"),
        ("memory:x", "memory:x"),
        ("http:user:pw@host/x", "http:host/x"),
        ("user:pw@host/x", "user:host/x"),
    ],
)
def test_redacted_location_has_no_credentials(url: str, shown: str) -> None:
    assert Location(url).redacted() == shown


@pytest.mark.parametrize(
    ("url", "scheme"), [("FILE:///x", "file"), ("a+b:x", "a+b"), ("nothing", ""), ("", "")]
)
def test_scheme(url: str, scheme: str) -> None:
    assert Location(url).scheme == scheme


@pytest.mark.parametrize(
    "text",
    ["i", ".", "..", "a b", "\u00e9", "\U0001f600", "a" * 255, "\u00e9" * 127 + "a", "%2F"],
)
def test_ids(text: str) -> None:
    assert is_image_id(text)


@pytest.mark.parametrize("text", ["", "detail", "a/b", "\0", "a\n", "\x7f", "\x85", "\udcff"])
def test_no_ids_of_these_characters(text: str) -> None:
    assert not is_image_id(text)


@pytest.mark.parametrize("text", ["a" * 256, "\u00e9" * 128, "\U0001f600" * 64, "<" * 64_000])
def test_no_ids_of_over_255_bytes(text: str) -> None:
    assert not is_image_id(text)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"os_hash_algo": "sha\x00512"}, "os_hash_algo"),
        ({"os_hash_algo": "\ud800"}, "os_hash_algo"),
        ({"os_hash_algo": "sha512\n"}, "os_hash_algo"),
        ({"os_hash_algo": b"sha512"}, "os_hash_algo"),
        ({"checksum": "x" * 129}, "checksum"),
        ({"checksum": b"x"}, "checksum"),
    ],
)
def test_hash_that_is_none(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(MalformedImage, match=f"^{reason} must be"):
        Image(id="i", status="active", **fields)


COUNT = "must be a whole number, 0 or more"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"id": 7}, "id must be a text, not 7"),
        ({"is_public": 1}, "is_public must be True or False, not 1"),
        ({"status": "Active"}, "status must be one of active, .*, not 'Active'"),
        ({"status": ["active"]}, "status must be one of .*, not list"),
        ({"owner": 7}, "owner must be a text or None, not 7"),
        ({"members": frozenset({7})}, "members must be a frozenset of project ids, not frozenset"),
        ({"members": "p1"}, "members must be a frozenset of project ids, not 'p1'"),
        ({"name": b"x"}, "name must be a text or None, not bytes"),
        ({"disk_format": 1.5}, "disk_format must be a text or None, not 1.5"),
        ({"size": "10"}, f"size {COUNT}, or None, not '10'"),
        ({"size": 1.0}, f"size {COUNT}, or None, not 1.0"),
        ({"virtual_size": -1}, f"virtual_size {COUNT}, or None, not -1"),
        ({"min_ram": None}, f"min_ram {COUNT}, not None"),
        ({"min_disk": True}, f"min_disk {COUNT}, not True"),
        ({"created_at": "2020-01-01"}, "created_at must be a datetime or None, not '2020-01-01'"),
        ({"deleted_at": 0}, "deleted_at must be a datetime or None, not 0"),
        (
            {"checksum": "NOT AN MD5"},
            "checksum must be an MD5, 32 hexadecimal digits, or None, not 'NOT AN MD5'",
        ),
        (
            {"os_hash_value": "0x"},
            "os_hash_value must consist of hexadecimal digits, or be None, not '0x'",
        ),
        ({"properties": {1: "x"}}, "properties must be a mapping whose names are texts, not dict"),
        ({"properties": None}, "properties must be a mapping whose names are texts, not None"),
    ],
)
def test_wrong_field_and_its_value_are_named(fields: dict[str, Any], message: str) -> None:
    values: dict[str, Any] = {"id": "i", "status": "active", **fields}
    with pytest.raises(MalformedImage, match=f"^{message}$"):
        Image(**values)


@pytest.mark.parametrize("locations", [[SECRET_URL], (SECRET_URL,), SECRET_URL])
def test_wrong_locations_are_not_shown(locations: Any) -> None:
    kind = type(locations).__name__
    with pytest.raises(MalformedImage) as raised:
        Image(id="i", status="active", locations=locations)
    assert str(raised.value) == (
        f"locations must be a tuple of imageapi.image.Location, not {kind}"
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((SECRET_URL.encode(),), "a location's url must be a text, not bytes"),
        ((SECRET_URL, 7), "a location's store must be a text or None, not int"),
    ],
)
def test_wrong_location_is_not_shown(values: Any, message: str) -> None:
    with pytest.raises(MalformedImage) as raised:
        Location(*values)
    assert str(raised.value) == message


def test_error_of_a_field_says_who_may_know_of_the_image() -> None:
    with pytest.raises(MalformedImage) as raised:
        Image(id="i", status="active", owner="p1", checksum="x")
    assert raised.value.visibility == Visibility(owner="p1")
    with pytest.raises(MalformedImage) as raised:
        Image(id="i", status="active", is_public="true")  # type: ignore[arg-type]  # the fault
    assert raised.value.visibility is None


@pytest.mark.parametrize(
    "text", ["[[[[{}]]]]", '{"a": {"b": {"c": 1000}}}', '"\\ud83d\\ude00xxxx"', "[0.5, 1e9, null]"]
)
def test_weight_is_what_a_value_takes(text: str) -> None:
    tracemalloc.start()
    try:
        values = [json.loads(text) for _ in range(1000)]
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert 0.95 * taken < weight_of(values) < 2 * taken


def test_weight_of_an_image_is_that_of_all_it_holds() -> None:
    properties = MappingProxyType({"x" * 1000: ["x" * 1000]})
    location = Location("x" * 1000, "x" * 1000)
    image = Image(
        id="i", status="active", name="x" * 1000, properties=properties, locations=(location,)
    )
    assert 5000 < weight_of(image) < 8000
