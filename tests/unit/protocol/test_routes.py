# SPDX-License-Identifier: Apache-2.0
"""Single rules; tests/contract/test_routes.py has those of docs/wire.md."""

import pytest

from imageapi.protocol.routes import asks_for_details, image_id_of


@pytest.mark.parametrize(
    ("script_name", "path_info"),
    [("", "/v1/images/i"), ("/mount", "/v1.1/images/i"), ("/mount/v1.0", "/images/i")],
)
def test_id_follows_the_version_wherever_it_is_mounted(script_name: str, path_info: str) -> None:
    assert image_id_of(script_name, path_info) == "i"


@pytest.mark.parametrize(
    ("script_name", "path_info"),
    [
        ("", ""),
        ("", "/images/i"),
        ("", "/v2/images/i"),
        ("/v1", "/v1/images/i/images"),
        ("/v1", "/x/images/i"),
        ("", "/v1/images/"),
        ("", "/v1/images/detail"),
    ],
)
def test_other_paths_have_no_id(script_name: str, path_info: str) -> None:
    assert image_id_of(script_name, path_info) is None


def test_bytes_of_an_id_are_utf8() -> None:
    assert image_id_of("", "/v1/images/\xc3\xa9") == "\u00e9"
    assert image_id_of("", "/v1/images/\xe9") is None


@pytest.mark.parametrize(
    ("query", "asks"),
    [
        ("", False),
        ("format=json", True),
        ("a=b&format=json", True),
        ("xformat=json", False),
        ("format=JSON", False),
        ("format=json&a=%C3%A9", True),
        ("format=json&a=%E9", False),
        ("format=json&a=\u65e5", False),
    ],
)
def test_details_are_for_exactly_one_spelling(query: str, asks: bool) -> None:
    assert asks_for_details(query) is asks
