# SPDX-License-Identifier: Apache-2.0
"""The order of lists, and their pages, whatever database the upstream has."""

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from imageapi import document
from imageapi.backends.http.list_pages import SeenPages
from imageapi.backends.http.registry import HTTPRegistry
from imageapi.backends.listing import SORT_KEYS, ListQuery
from imageapi.caller import ANONYMOUS
from imageapi.errors import BadReply
from imageapi.image import Image
from imageapi.testing.suite import build
from tests.unit.backends.http.list_upstream import ListUpstream, upstream_record

Connect = Callable[[ListUpstream], HTTPRegistry]

NAMES = (None, "", None, "b", "", "a", None, "B", "b", "\N{SNOWMAN}", None, "")
SIZES = (0, None, 7, 0, None, 3, 7, None, 0, 12, 5, None)
FORMATS = (None, "raw", "qcow2", None, "raw", "iso")
MIXED = [
    upstream_record(
        f"i{n % 7}{n}", n // 3, name=name, size=size, disk_format=form, container_format=form
    )
    for n, (name, size, form) in enumerate(zip(NAMES, SIZES, FORMATS * 2, strict=True))
]
NAMED = [upstream_record(f"i{n}", n, name=f"n{n % 5}", size=n) for n in range(50)]


@pytest.fixture(scope="module")
def registries() -> Iterator[dict[bool, HTTPRegistry]]:
    """A registry for v1 and one for v2: making one takes long."""
    made = {
        is_v2: build(HTTPRegistry, endpoint=f"http://host/{path}/images", auth="caller")
        for is_v2, path in ((False, "v1"), (True, "v2"))
    }
    yield made
    for one in made.values():
        one.close()


@pytest.fixture
def connect(
    monkeypatch: pytest.MonkeyPatch, registries: dict[bool, HTTPRegistry]
) -> Callable[[ListUpstream], HTTPRegistry]:
    def connect(upstream: ListUpstream) -> HTTPRegistry:
        registry = registries[upstream.is_v2]
        monkeypatch.setattr(registry._upstream, "request", upstream.request)
        monkeypatch.setattr(registry._lists, "_seen", SeenPages())
        return registry

    return connect


def taken(registry: Any, query: ListQuery) -> list[Image]:
    """A page, as the core takes it."""
    with closing(registry.list(query, ANONYMOUS)) as images:
        return list(itertools.islice(images, query.limit))


def walked(registry: Any, query: ListQuery) -> list[str]:
    """The ids of all pages."""
    ids = []
    while images := taken(registry, query):
        ids += [image.id for image in images]
        query = replace(query, after=images[-1])
        assert len(ids) <= 100
    return ids


def expected(upstream: ListUpstream, query: ListQuery) -> list[str]:
    """The ids in the order of the contract."""
    images = [document.parse(json.dumps(one).encode(), one["id"]) for one in upstream.records]
    images.sort(key=query.position, reverse=query.descending)
    return [image.id for image in images]


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("key", SORT_KEYS)
@pytest.mark.parametrize("is_v2", [False, True])
@pytest.mark.parametrize("nulls_first", [False, True])
def test_walks_give_every_image_once_in_order(
    connect: Connect, nulls_first: bool, is_v2: bool, key: str, descending: bool
) -> None:
    for limit, cap in ((1, 1000), (2, 1000), (5, 1000), (5, 6), (12, 1000), (100, 1000), (100, 6)):
        upstream = ListUpstream(MIXED, nulls_first, is_v2, cap)
        registry = connect(upstream)
        query = ListQuery(sort_key=key, descending=descending, limit=limit)
        assert walked(registry, query) == expected(upstream, query), (limit, cap)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("key", SORT_KEYS)
@pytest.mark.parametrize("is_v2", [False, True])
@pytest.mark.parametrize("nulls_first", [False, True])
def test_a_page_of_visible_images_takes_two_requests_at_most(
    connect: Connect, nulls_first: bool, is_v2: bool, key: str, descending: bool
) -> None:
    upstream = ListUpstream(NAMED, nulls_first, is_v2)
    registry = connect(upstream)
    query = ListQuery(sort_key=key, descending=descending, limit=7)
    counts = []
    while images := taken(registry, query):
        counts.append(len(upstream.requests))
        upstream.requests.clear()
        query = replace(query, after=images[-1])
    assert len(counts) == 8
    assert max(counts) <= 2
    assert counts[1:] == [1] * 7


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("nulls_first", [False, True])
def test_more_images_without_a_name_than_a_page_has(
    monkeypatch: pytest.MonkeyPatch, connect: Connect, nulls_first: bool, descending: bool
) -> None:
    """Where they hide the others, the list fails: it would lack images."""
    monkeypatch.setattr("imageapi.backends.http.listing.LARGEST_PAGE", 20)
    monkeypatch.setattr("imageapi.backends.http.list_pages.LARGEST_PAGE", 20)
    nameless = [upstream_record(f"n{n}", n) for n in range(30)]
    query = ListQuery(sort_key="name", descending=descending, limit=4)
    upstream = ListUpstream(nameless, nulls_first)
    registry = connect(upstream)
    assert walked(registry, query) == expected(upstream, query)
    upstream.records = [
        *nameless,
        upstream_record("a", 1, name="a"),
        upstream_record("b", 1, name="b"),
    ]
    if nulls_first != descending:
        with pytest.raises(BadReply, match="20 images without a name first"):
            walked(registry, query)
    else:
        assert walked(registry, query) == expected(upstream, query)


def test_a_condition_that_needs_a_value_makes_the_order_simple(
    connect: Connect,
) -> None:
    upstream = ListUpstream(NAMED)
    registry = connect(upstream)
    query = ListQuery(sort_key="size", descending=False, size_min=0, limit=5)
    assert [image.id for image in taken(registry, query)] == ["i0", "i1", "i2", "i3", "i4"]
    assert [asked["sort_key"] for asked in upstream.requests] == ["size"]


@pytest.mark.parametrize("nulls_first", [False, True])
def test_a_walk_by_created_at_has_smaller_pages_if_the_records_are_large(
    connect: Connect, nulls_first: bool
) -> None:
    large = "x" * 200_000
    records = [upstream_record(f"i{n:03}", n % 60, large=large) for n in range(100)]
    upstream = ListUpstream([*records, upstream_record("named", 1, name="a")], nulls_first)
    registry = connect(upstream)
    query = ListQuery(sort_key="name", descending=nulls_first, limit=10)
    found = [image.id for image in registry.list(query, ANONYMOUS)]
    assert found == expected(upstream, query)
