# SPDX-License-Identifier: Apache-2.0
import pytest

from imageapi.backends.swift.location import SwiftLocation
from imageapi.errors import LocationRefused


@pytest.mark.parametrize(
    ("url", "container", "name"),
    [
        ("swift://images/i", "images", "i"),
        ("SWIFT://images/a/b%2Fc%20d", "images", "a/b/c d"),
        ("swift+config://ref1/images/i", "images", "i"),
        ("swift+https://user:key@keystone.example.com/v3/images/i", "images", "i"),
        ("swift://user:key@keystone.example.com/v3/images/i", "images", "i"),
    ],
)
def test_container_and_object_of_a_location(url: str, container: str, name: str) -> None:
    location = SwiftLocation.parse(url)
    assert (location.container, location.name) == (container, name)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://host/images/i", "not a Swift location"),
        ("swift:images/s3cret", "not a Swift location"),
        ("swift://images/s3cret?a", "no query or fragment"),
        ("swift://images/s3cret%zz", "no query or fragment"),
        ("swift://s3cret", "must name a container and an object"),
        ("swift+https://u:s3cret@host", "must end in /CONTAINER/OBJECT"),
        ("swift://images/s3cret%ff", "must be UTF-8"),
        ("swift://images/../s3cret", "not a valid Swift object name"),
    ],
)
def test_the_error_of_an_invalid_location_shows_no_part_of_it(url: str, reason: str) -> None:
    with pytest.raises(LocationRefused, match=reason) as caught:
        SwiftLocation.parse(url)
    assert "s3cret" not in str(caught.value)


def test_a_location_is_parsed_from_its_url() -> None:
    location = SwiftLocation.of("a b", "c/d%e")
    assert location.url == "swift://a%20b/c/d%25e"
    assert location.path == "/a%20b/c/d%25e"
    assert SwiftLocation.parse(location.url) == location
