# SPDX-License-Identifier: Apache-2.0
"""The conformance suite has the filters and the order; this has Glance's rules."""

from dataclasses import replace
from typing import Any

import pytest

from imageapi.backends.listing import ListQuery
from imageapi.backends.sql.registry import SQLRegistry
from imageapi.caller import ANONYMOUS
from tests.glance_tables import IMAGES, MEMBERS, GlanceTables
from tests.unit.backends.sql.images import stored


def ids_for(registry: SQLRegistry, **values: Any) -> list[str]:
    query = ListQuery(descending=False, sort_key="id", **values)
    return [image.id for image in registry.list(query, ANONYMOUS)]


def put_one_of_each_kind(tables: GlanceTables) -> None:
    for visibility in ("public", "community", "private"):
        tables.put(stored(visibility), visibility=visibility)
    tables.put(stored("hidden"), visibility="public", os_hidden=True)
    tables.put(stored("no-owner", owner=None), visibility="private")
    for status in ("pending", "accepted", "rejected"):
        tables.put(stored(status, members=frozenset({"m"})))
        tables.change(MEMBERS, status, status=status)
    tables.put(stored("was-shared", members=frozenset({"m"})), visibility="private")


@pytest.mark.parametrize(
    ("project", "ids"),
    [
        (None, ["public"]),
        ("other", ["public"]),
        ("m", ["accepted", "public"]),
        (
            "p",
            [
                *("accepted", "community", "pending", "private", "public", "rejected"),
                "was-shared",
            ],
        ),
    ],
)
def test_who_is_shown_what(
    tables: GlanceTables, sql_registry: SQLRegistry, project: str | None, ids: list[str]
) -> None:
    put_one_of_each_kind(tables)
    assert ids_for(sql_registry, project_id=project) == ids


def test_lists_of_admins_and_of_members(tables: GlanceTables, sql_registry: SQLRegistry) -> None:
    put_one_of_each_kind(tables)
    assert len(ids_for(sql_registry, all_projects=True)) == 9
    # A project may look at what it has not accepted.
    shared = ids_for(sql_registry, all_projects=True, shared_with="m")
    assert shared == ["accepted", "pending", "rejected"]


def test_texts_that_no_row_can_have(tables: GlanceTables, sql_registry: SQLRegistry) -> None:
    tables.put(stored(is_public=True))
    for text in ("\0", "\ud800", "x\0"):
        assert ids_for(sql_registry, texts={"name": frozenset({text})}) == []
        assert ids_for(sql_registry, properties={text: "a"}) == []
        assert ids_for(sql_registry, properties={"a": text}) == []
        assert ids_for(sql_registry, project_id=text) == ["one"]


@pytest.mark.parametrize("name", ["size_min", "size_max"])
def test_numbers_that_no_row_can_have(
    tables: GlanceTables, sql_registry: SQLRegistry, name: str
) -> None:
    tables.put(stored(is_public=True, size=5))
    assert ids_for(sql_registry, **{name: 10**30}) == (["one"] if name == "size_max" else [])
    assert ids_for(sql_registry, numbers={"min_ram": 10**30}) == []


def test_a_list_goes_on_after_an_image_that_was_purged(
    tables: GlanceTables, sql_registry: SQLRegistry
) -> None:
    for image_id in ("a", "b", "c"):
        tables.put(stored(image_id, is_public=True, name="n"))
    after = replace(sql_registry.get("b", ANONYMOUS))
    tables.remove("b")
    for key in ("id", "name", "created_at", "size"):
        query = ListQuery(descending=False, sort_key=key, after=after)
        assert [image.id for image in sql_registry.list(query, ANONYMOUS)] == ["c"]


def test_times_of_an_image_that_was_never_changed(
    tables: GlanceTables, sql_registry: SQLRegistry
) -> None:
    for image_id in ("a", "b", "c"):
        tables.put(stored(image_id, is_public=True))
    tables.change(IMAGES, "b", updated_at=None)
    for descending, ids in ((False, ["b", "a", "c"]), (True, ["c", "a", "b"])):
        query = ListQuery(sort_key="updated_at", descending=descending, limit=1)
        assert [image.id for image in sql_registry.list(query, ANONYMOUS)] == ids
