# SPDX-License-Identifier: Apache-2.0
"""Single rules; tests/contract/test_routes.py has those of docs/wire.md."""

import pytest

from imageapi.protocol.routes import Kind, Route, asks_for_details, mount_path, route_of


@pytest.mark.parametrize(
    ("script_name", "path_info"),
    [("", "/v1/images/i"), ("/mount", "/v1.1/images/i"), ("/mount/v1.0", "/images/i")],
)
def test_id_follows_the_version_wherever_it_is_mounted(script_name: str, path_info: str) -> None:
    assert route_of(script_name, path_info) == Route(Kind.IMAGE, "i")


@pytest.mark.parametrize(
    ("script_name", "path_info"),
    [
        ("", "/images/i"),
        ("", "/v2/images/i"),
        ("/v1", "/v1/images/i/images"),
        ("/v1", "/x/images/i"),
        ("", "/v1/images/"),
        ("", "/v1/images/detail/members"),
        ("", "/v1/images/i/"),
        ("", "/v1/images/i/members/p"),
        ("", "/v1/shared-images"),
        ("", "/v10/images"),
        ("", "/v1\n"),
        ("", "/versions/"),
        ("", "/images"),
    ],
)
def test_other_paths_have_no_resource(script_name: str, path_info: str) -> None:
    assert route_of(script_name, path_info) is None


@pytest.mark.parametrize(
    ("script_name", "path_info", "kind", "name"),
    [
        ("", "/v1/images", Kind.IMAGES, ""),
        ("/mount", "/v1.0/images/detail", Kind.DETAIL, ""),
        ("/mount/v1", "/images/i/members", Kind.MEMBERS, "i"),
        ("", "/v1.1/shared-images/p", Kind.SHARED, "p"),
        ("", "/v1", Kind.VERSION, ""),
        ("/v1", "", Kind.VERSION, ""),
        ("/mount/v1.1", "/", Kind.VERSION, ""),
        ("", "", Kind.ROOT, ""),
        ("/mount", "/", Kind.ROOT, ""),
        ("", "/versions", Kind.VERSIONS, ""),
    ],
)
def test_other_resources(script_name: str, path_info: str, kind: Kind, name: str) -> None:
    assert route_of(script_name, path_info) == Route(kind, name)


@pytest.mark.parametrize(
    ("script_name", "path"),
    [("", ""), ("/v1", ""), ("/a b/v1.0", "/a%20b"), ("/mount/v1.1/", "/mount"), ("/xv1", "/xv1")],
)
def test_mount_path_has_no_version(script_name: str, path: str) -> None:
    assert mount_path({"SCRIPT_NAME": script_name}) == path


def test_a_server_may_leave_out_an_empty_script_name() -> None:
    """PEP 3333 allows it."""
    assert mount_path({}) == ""


def test_bytes_of_an_id_are_utf8() -> None:
    assert route_of("", "/v1/images/\xc3\xa9") == Route(Kind.IMAGE, "\u00e9")
    assert route_of("", "/v1/images/\xe9") is None


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
