# SPDX-License-Identifier: Apache-2.0
from datetime import datetime
from typing import Any

import pytest

from imageapi.backends.http.list_parameters import Dialect, conditions, dialect_of, scope
from imageapi.backends.http_client.urls import Url
from imageapi.backends.listing import ListQuery

V1, V2 = Dialect.V1, Dialect.V2


@pytest.mark.parametrize(
    ("endpoint", "suffix", "dialect"),
    [
        ("http://h/v2/images", "", V2),
        ("http://h/image/v2/images/", "", V2),
        ("http://h/v2/images", ".json", None),
        ("http://h/v1/images", "?format=json", V1),
        ("http://h/a/v1.1/images", "", V1),
        ("http://h/v1/images", ".json", None),
        ("http://h/records", "", None),
        ("http://h/v2/images/records", "", None),
        ("http://h/xv1/images", "", None),
    ],
)
def test_the_endpoint_tells_how_images_are_listed(
    endpoint: str, suffix: str, dialect: Dialect | None
) -> None:
    assert dialect_of(Url.parse(endpoint), suffix) is dialect


def texts_of(*values: str) -> dict[str, Any]:
    return {"texts": {"name": frozenset(values)}}


@pytest.mark.parametrize(
    ("fields", "v1", "v2"),
    [
        ({}, {}, {}),
        (texts_of("a b&c"), {"name": "a%20b%26c"}, {"name": "a%20b%26c"}),
        (texts_of(""), {"name": ""}, {"name": ""}),
        (texts_of("fedora:25"), {"name": "eq%3Afedora%3A25"}, {"name": "eq%3Afedora%3A25"}),
        (
            texts_of("b", "a,"),
            {"name": "in%3A%22a%2C%22%2C%22b%22"},
            {"name": "in%3A%22a%2C%22%2C%22b%22"},
        ),
        (texts_of("a", ""), {}, {}),
        (texts_of("a", 'b"'), {}, {}),
        (texts_of("a\n"), {}, {}),
        (texts_of("\xfc"), {}, {"name": "%C3%BC"}),
        (texts_of("\U0001f600"), {}, {}),
        (texts_of("x" * 5000), {}, {}),
        ({"numbers": {"min_ram": 512}}, {"min_ram": "512"}, {"min_ram": "512"}),
        ({"numbers": {"min_ram": 2**31}}, {}, {}),
        (
            {"size_min": 0, "size_max": 9},
            {"size_min": "0", "size_max": "9"},
            {"size_min": "0", "size_max": "9"},
        ),
        ({"size_max": 2**63}, {}, {}),
        ({"protected": False}, {"protected": "false"}, {"protected": "false"}),
        ({"properties": {"distro": "x"}}, {"property-distro": "x"}, {"distro": "x"}),
        ({"properties": {"owner": "x"}}, {"property-owner": "x"}, {}),
        ({"properties": {"a_min": "x"}}, {"property-a_min": "x"}, {}),
        ({"properties": {"metadata": "x"}}, {"property-metadata": "x"}, {}),
        ({"properties": {"\xfc": "x", "_sa": "x"}}, {}, {}),
        (
            {"changed_after": datetime(2026, 11, 20, 8, 0, 0, 500)},
            {"changes-since": "2026-11-20T08%3A00%3A00.000500Z"},
            {"updated_at": "gt%3A2026-11-20T08%3A00%3A00.000500Z"},
        ),
        (
            {"changed_after": datetime(2026, 11, 20, 8), "shows_deleted": True},
            {"changes-since": "2026-11-20T08%3A00%3A00Z"},
            {"updated_at": "gt%3A2026-11-20T08%3A00%3A00Z"},
        ),
        ({"shows_deleted": True}, {"changes-since": "1000-01-01T00%3A00%3A00Z"}, {}),
    ],
)
def test_what_the_upstream_evaluates(
    fields: dict[str, Any], v1: dict[str, str], v2: dict[str, str]
) -> None:
    query = ListQuery(**fields)
    assert conditions(query, V1) == v1
    assert conditions(query, V2) == v2


@pytest.mark.parametrize(
    ("fields", "of_caller", "of_service"),
    [
        ({}, "", "public"),
        ({"project_id": "p"}, "", ""),
        ({"project_id": ""}, "", "public"),
        ({"all_projects": True}, "all", "all"),
        ({"all_projects": True, "is_public": True}, "public", "public"),
        ({"all_projects": True, "is_public": False}, "all", "all"),
        ({"shared_with": "p", "project_id": "p"}, "shared", "shared"),
    ],
)
def test_whose_images_of_v2_are_listed(
    fields: dict[str, Any], of_caller: str, of_service: str
) -> None:
    query = ListQuery(**fields)
    for is_service, visibility in ((False, of_caller), (True, of_service)):
        asked = scope(query, V2, is_service=is_service, is_admin=False)
        assert asked.pop("member_status") == "all"
        assert asked.get("visibility", "") == visibility


@pytest.mark.parametrize(
    ("fields", "of_caller", "of_service"),
    [
        ({}, None, None),
        ({"project_id": "p"}, None, "None"),
        ({"project_id": "p", "is_public": False}, None, "False"),
        ({"project_id": ""}, None, None),
        ({"all_projects": True}, "None", "None"),
        ({"all_projects": True, "is_public": True}, "True", "True"),
        ({"all_projects": True, "is_public": False}, "False", "False"),
        ({"shared_with": "p", "project_id": "p"}, None, "None"),
    ],
)
def test_whose_images_of_v1_are_listed(
    fields: dict[str, Any], of_caller: str | None, of_service: str | None
) -> None:
    """An upstream that does not know the caller is asked for all images: see is_service."""
    query = ListQuery(**fields)
    for is_service, is_public in ((False, of_caller), (True, of_service)):
        asked = scope(query, V1, is_service=is_service, is_admin=False)
        assert asked == ({} if is_public is None else {"is_public": is_public})


def test_an_admin_sees_what_is_shared_with_another_project() -> None:
    query = ListQuery(shared_with="p", project_id="p")
    assert scope(query, V1, is_service=False, is_admin=True) == {"is_public": "None"}
