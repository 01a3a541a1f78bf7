# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imageapi.backends.listing import SORT_KEYS, ListQuery
from imageapi.backends.listing_index import Hashes, ListEntry, ListIndex, entry_of, images_of
from imageapi.image import Image

FEW_TEXTS = st.sampled_from(["", "a", "b", "ü", "Z"])
PROJECTS = st.sampled_from(["p1", "p2", "p3"])
DAY = datetime(2026, 1, 1)
TIMES = st.sampled_from(
    [None, DAY, DAY.replace(tzinfo=UTC), DAY + timedelta(microseconds=1)]
    + [datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=hours))) for hours in (2, 1)]
)
PROPERTIES = st.dictionaries(FEW_TEXTS, st.sampled_from(["", "a", None, 1, True, [1]]), max_size=3)


@st.composite
def images(draw: st.DrawFn, image_id: str) -> Image:
    return Image(
        id=image_id,
        status=draw(st.sampled_from(["active", "queued", "killed", "deleted"])),
        name=draw(st.none() | FEW_TEXTS),
        disk_format=draw(st.none() | FEW_TEXTS),
        container_format=draw(st.none() | FEW_TEXTS),
        size=draw(st.none() | st.integers(0, 3)),
        created_at=draw(TIMES),
        updated_at=draw(TIMES),
        is_public=draw(st.booleans()),
        protected=draw(st.booleans()),
        deleted=draw(st.booleans()),
        min_ram=draw(st.integers(0, 1)),
        min_disk=draw(st.integers(0, 1)),
        owner=draw(st.none() | PROJECTS),
        members=draw(st.frozensets(PROJECTS, max_size=2)),
        properties=draw(PROPERTIES),
    )


@st.composite
def populations(draw: st.DrawFn) -> dict[str, Image]:
    ids = draw(st.lists(st.integers(0, 30).map(str), unique=True, max_size=12))
    return {image_id: draw(images(image_id)) for image_id in ids}


@st.composite
def queries(draw: st.DrawFn, population: Mapping[str, Image]) -> ListQuery:
    after = st.none() | st.sampled_from(list(population.values())) if population else st.none()
    return ListQuery(
        all_projects=draw(st.booleans()),
        project_id=draw(st.none() | PROJECTS),
        shared_with=draw(st.none() | st.none() | PROJECTS),
        is_public=draw(st.none() | st.booleans()),
        shows_deleted=draw(st.booleans()),
        texts=draw(st.dictionaries(st.just("name"), st.frozensets(FEW_TEXTS), max_size=1)),
        numbers=draw(st.dictionaries(st.just("min_ram"), st.integers(0, 1), max_size=1)),
        size_min=draw(st.none() | st.integers(0, 3)),
        protected=draw(st.none() | st.booleans()),
        properties=draw(st.dictionaries(FEW_TEXTS, FEW_TEXTS, max_size=1)),
        changed_after=draw(st.none() | st.just(DAY)),
        sort_key=draw(st.sampled_from(SORT_KEYS)),
        descending=draw(st.booleans()),
        after=draw(after),
        limit=draw(st.integers(0, 4)),
    )


def reading(population: Mapping[str, Image]) -> Any:
    def read(entries: Sequence[ListEntry]) -> Iterator[Image | None]:
        return (population.get(entry.id) for entry in entries)

    return read


def listed(index: ListIndex, query: ListQuery, population: Mapping[str, Image]) -> list[Image]:
    return list(images_of(index.select(query), query, reading(population)))


def expected_order(query: ListQuery, population: Iterable[Image]) -> list[Image]:
    matching = filter(query.matching(), population)
    in_order = sorted(matching, key=query.position, reverse=query.descending)
    return [image for image in in_order if query.is_after(query.position(image))]


def index_of(*made: Image) -> ListIndex:
    index = ListIndex()
    index.update(map(entry_of, made))
    return index


@given(st.data())
def test_a_list_is_what_matches_in_order(data: st.DataObject) -> None:
    population = data.draw(populations())
    query = data.draw(queries(population))
    index = index_of(*population.values())
    assert listed(index, query, population) == expected_order(query, population.values())


@pytest.mark.parametrize("few", [0, 1000], ids=["sorted again", "moved"])
@given(data=st.data())
def test_an_index_that_was_updated_is_like_a_new_one(few: int, data: st.DataObject) -> None:
    before = data.draw(populations())
    index = index_of(*before.values())
    queried = data.draw(st.lists(queries(before), max_size=3))
    for query in queried:
        listed(index, query, before)
    after = data.draw(populations())
    with patch("imageapi.backends.listing_index._FEW", few):
        index.update(map(entry_of, after.values()), [*(before.keys() - after.keys()), "unknown"])
    assert (len(index), set(index.ids())) == (len(after), set(after))
    for query in [*queried, data.draw(queries(after))]:
        assert listed(index, query, after) == expected_order(query, after.values())


@given(st.data())
def test_pages_have_each_image_that_stays_once(data: st.DataObject) -> None:
    staying = data.draw(populations())
    query = replace(data.draw(queries({})), properties={}, size_min=None, changed_after=None)
    limit = data.draw(st.integers(1, 3))
    population, index = dict(staying), index_of(*staying.values())
    walked: list[Image] = []
    while True:
        page = listed(index, query, population)[:limit]
        if not page:
            break
        walked += page
        query = replace(query, after=page[-1])
        # Some come before the page and after it, and those of the last round go.
        gone = population.keys() - staying.keys()
        if len(walked) < 30:
            number = str(100 + len(walked))
            come = {number: data.draw(images(number))}
        else:
            come = {}
        population = staying | come
        index.update(map(entry_of, come.values()), gone)
    kept = [image for image in walked if image.id in staying]
    assert kept == expected_order(replace(query, after=None), staying.values())
    positions = [query.position(image) for image in walked]
    assert positions == sorted(positions, reverse=query.descending)


BY_NAME = ListQuery(sort_key="name", descending=False, limit=2)


def named(image_id: str, name: str, **fields: Any) -> Image:
    return Image(id=image_id, name=name, status="active", is_public=True, **fields)


@pytest.mark.parametrize(
    ("now", "names"),
    [
        ("d2", ["a", "b", "d", "d2", "e"]),
        ("b2", ["a", "b", "b2", "d", "e"]),
        ("z", ["a", "b", "d", "e", "z"]),
        # The list has passed this place when it finds out.
        ("0", ["a", "b", "d", "e"]),
    ],
)
def test_an_image_that_was_changed_is_where_it_belongs_now(now: str, names: list[str]) -> None:
    old = [named(name, name) for name in "abcde"]
    population = {image.id: image for image in old} | {"c": named("c", now)}
    found = listed(index_of(*old), BY_NAME, population)
    assert [image.name for image in found] == names


def test_an_image_that_has_moved_before_the_marker_is_left_out() -> None:
    old = [named(name, name) for name in "abc"]
    population = {image.id: image for image in old} | {"b": named("b", "A")}
    found = listed(index_of(*old), replace(BY_NAME, after=old[0]), population)
    assert [image.id for image in found] == ["c"]


def test_an_image_that_no_longer_matches_or_exists_is_left_out() -> None:
    old = [named(name, name) for name in "abc"]
    population = {"a": old[0], "b": replace(old[1], is_public=False)}
    assert [image.id for image in listed(index_of(*old), BY_NAME, population)] == ["a"]


def test_a_hash_that_only_seems_to_match_is_no_match(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hashes, "__contains__", lambda *_: True)
    image = named("a", "a", properties={"k": "v"})
    query = replace(BY_NAME, properties={"k": "other"})
    assert len(list(index_of(image).select(query))) == 1
    assert listed(index_of(image), query, {"a": image}) == []


def test_only_as_many_images_are_read_as_the_page_has() -> None:
    population = {str(number): named(str(number), f"{number:04}") for number in range(1000)}
    read: list[int] = []

    def counting(entries: Sequence[ListEntry]) -> Iterator[Image | None]:
        read.append(len(entries))
        return iter([population[entry.id] for entry in entries])

    index = index_of(*population.values())
    for limit, most in ((0, 1), (25, 25), (1000, 100)):
        query = replace(BY_NAME, limit=limit)
        next(images_of(index.select(query), query, counting))
        assert read.pop() == most


@pytest.mark.parametrize("few", [0, 1000], ids=["sorted again", "moved"])
def test_a_list_that_has_begun_goes_on_as_it_began(few: int) -> None:
    old = [named(name, name) for name in "abc"]
    index = index_of(*old)
    entries = index.select(BY_NAME)
    assert next(entries).id == "a"
    with patch("imageapi.backends.listing_index._FEW", few):
        index.update([entry_of(named("b", "0"))], ["a", "c"])
    assert [entry.id for entry in entries] == ["b", "c"]
    index.clear()
    assert (len(index), list(index.select(BY_NAME))) == (0, [])


def test_an_entry_is_small() -> None:
    members = frozenset(f"project-{number:060}" for number in range(1000))
    properties = {f"property-{number:060}": "text" * 100 for number in range(1000)}
    entry = entry_of(named("a", "a", members=members, properties=properties))
    assert isinstance(entry.members, Hashes)
    assert len(entry.members._packed) == 4000
    assert isinstance(entry.properties, Hashes)
    assert len(entry.properties._packed) == 4000
