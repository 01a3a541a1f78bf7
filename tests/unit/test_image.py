# SPDX-License-Identifier: Apache-2.0
import json
import tracemalloc
from types import MappingProxyType
from typing import Any

import pytest

from imageapi.errors import MalformedImage
from imageapi.image import Image, Location, is_image_id, weight_of

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
