# SPDX-License-Identifier: Apache-2.0
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imageapi.backends.listing import GONE, SORT_KEYS, ListQuery
from imageapi.image import STATUSES, Image

DAY = datetime(2010, 2, 3, 9, 34, 1, tzinfo=UTC)
NAIVE = DAY.replace(tzinfo=None)
EAST = DAY.astimezone(timezone(timedelta(hours=2)))
LATER = DAY + timedelta(seconds=1)


def described_image(image_id: str = "i", **fields: Any) -> Image:
    return Image(**{"id": image_id, "status": "active", "is_public": True, **fields})


def has(query: ListQuery, **fields: Any) -> bool:
    return query.matching()(described_image(**fields))


def in_order(key: str, *images: Image, descending: bool = False) -> list[str]:
    query = ListQuery(sort_key=key, descending=descending)
    return [one.id for one in sorted(images, key=query.position, reverse=descending)]


# Order.


@pytest.mark.parametrize("key", ["name", "disk_format", "container_format"])
def test_texts_are_in_the_order_of_code_points(key: str) -> None:
    texts = [None, "", "10", "9", "Z", "a", "\u00fc", "\uff41", "\U0001f600"]
    # The ids are in the opposite order.
    images = [described_image(str(9 - n), **{key: text}) for n, text in enumerate(texts)]
    assert in_order(key, *reversed(images)) == [one.id for one in images]


def test_numbers_and_times_are_in_their_order() -> None:
    sizes = [described_image(str(n), size=size) for n, size in enumerate([None, 0, 9, 10, 2**64])]
    assert in_order("size", *reversed(sizes)) == list("01234")
    times = [described_image(str(n), updated_at=time) for n, time in enumerate([None, DAY, LATER])]
    assert in_order("updated_at", *reversed(times)) == list("012")


@pytest.mark.parametrize("key", ["created_at", "updated_at"])
def test_same_time_in_any_zone_is_a_tie(key: str) -> None:
    images = [described_image(str(n), **{key: time}) for n, time in enumerate([NAIVE, EAST, DAY])]
    assert in_order(key, *reversed(images)) == list("012")


@pytest.mark.parametrize("key", [key for key in SORT_KEYS if key != "id"])
@pytest.mark.parametrize("descending", [False, True])
def test_ties_are_broken_by_created_at_and_id(key: str, descending: bool) -> None:
    images = [
        *(described_image(one, created_at=None) for one in "ef"),
        *(described_image(one, created_at=DAY) for one in "cd"),
        *(described_image(one, created_at=LATER) for one in "ab"),
    ]
    wanted = list("badcfe" if descending else "efcdab")
    assert in_order(key, *images[::2], *images[1::2], descending=descending) == wanted


@pytest.mark.parametrize("descending", [False, True])
def test_list_begins_after_an_image(descending: bool) -> None:
    images = [described_image(one, name="x") for one in "abc"]
    query = ListQuery(sort_key="name", descending=descending, after=images[1])
    found = [one.id for one in images if query.is_after(query.position(one))]
    assert found == ["a" if descending else "c"]
    whole = ListQuery(sort_key="name", descending=descending)
    assert all(whole.is_after(whole.position(one)) for one in images)


texts = st.sampled_from([None, "", "a", "b"])
times = st.sampled_from([None, DAY, NAIVE, EAST, LATER])
images = st.builds(
    Image,
    id=st.sampled_from("abcd"),
    status=st.sampled_from(["active", "queued"]),
    name=texts,
    disk_format=texts,
    size=st.sampled_from([None, 0, 1]),
    created_at=times,
    updated_at=times,
)


@given(one=images, other=images, key=st.sampled_from(SORT_KEYS), descending=st.booleans())
def test_positions_of_different_images_differ(
    one: Image, other: Image, key: str, descending: bool
) -> None:
    query = ListQuery(sort_key=key, descending=descending, after=one)
    place, begin = query.position(other), query.position(one)
    assert (place < begin) + (place == begin) + (place > begin) == 1
    if one.id != other.id:
        assert place != begin
    assert query.is_after(place) == (place < begin if descending else place > begin)


# Conditions.


@pytest.mark.parametrize("status", sorted(STATUSES))
def test_deleted_images(status: str) -> None:
    assert has(ListQuery(), status=status) == (status not in GONE)
    assert has(ListQuery(shows_deleted=True), status=status)


def test_gone_are_the_deleted_and_the_killed() -> None:
    assert sorted(GONE) == ["deleted", "killed", "pending_delete"]
    assert not has(ListQuery(), deleted=True)
    assert has(ListQuery(shows_deleted=True), deleted=True)


@pytest.mark.parametrize(
    ("fields", "projects"),
    [
        ({}, ["", "p1", "p2", "p3", None]),
        ({"is_public": False, "owner": "p1", "members": frozenset({"p2"})}, ["p1", "p2"]),
        ({"is_public": False}, []),
        ({"is_public": False, "owner": "", "members": frozenset({""})}, []),
    ],
)
def test_images_for_a_project(fields: dict[str, Any], projects: list[str | None]) -> None:
    for project in ("", "p1", "p2", "p3", None):
        assert has(ListQuery(project_id=project), **fields) == (project in projects)
        assert has(ListQuery(project_id=project, all_projects=True), **fields)


@pytest.mark.parametrize("name", ["is_public", "protected"])
def test_flags(name: str) -> None:
    for asked in (None, True, False):
        query = ListQuery(all_projects=True, **{name: asked})  # type: ignore[arg-type]  # by name
        for value in (True, False):
            assert has(query, **{name: value}) == (asked in (None, value))


def test_shared_with() -> None:
    query = ListQuery(shared_with="p2")
    assert has(query, members=frozenset({"p2"}))
    assert not has(query, owner="p2")
    assert not has(query, members=frozenset({"p2"}), is_public=False)
    own = ListQuery(shared_with="p2", project_id="p2")
    assert has(own, members=frozenset({"p2"}), is_public=False)


@pytest.mark.parametrize("name", ["name", "status", "disk_format", "container_format"])
def test_texts(name: str) -> None:
    query = ListQuery(texts={name: frozenset({"active", "x", ""})})
    for text in ("active", "x", "", "X", "xx", None):
        if name != "status":
            assert has(query, **{name: text}) == (text in ("active", "x", ""))
    assert not has(ListQuery(texts={name: frozenset()}))


@pytest.mark.parametrize("name", ["min_ram", "min_disk"])
def test_numbers_are_equal(name: str) -> None:
    for asked in (0, 1, 2):
        query = ListQuery(numbers={name: asked})
        assert [has(query, **{name: value}) for value in (0, 1, 2)] == [
            value == asked for value in (0, 1, 2)
        ]


@pytest.mark.parametrize(
    ("bounds", "sizes"),
    [
        ({"size_min": 0}, [0, 1, 2]),
        ({"size_min": 1}, [1, 2]),
        ({"size_max": 1}, [0, 1]),
        ({"size_max": 0}, [0]),
        ({"size_min": 1, "size_max": 1}, [1]),
        ({"size_min": 2, "size_max": 1}, []),
        ({}, [0, 1, 2, None]),
    ],
)
def test_bounds_of_size(bounds: dict[str, int], sizes: list[int | None]) -> None:
    query = ListQuery(**bounds)  # type: ignore[arg-type]  # by name
    assert [size for size in (0, 1, 2, None) if has(query, size=size)] == sizes


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x", "x"),
        (5, "5"),
        (1.5, "1.5"),
        (1e-7, "0.0000001"),
        (True, "True"),
        ([1], "[1]"),
        ("", ""),
    ],
)
def test_properties_are_compared_as_texts(value: Any, text: str) -> None:
    assert has(ListQuery(properties={"key": text}), properties={"key": value})
    assert not has(ListQuery(properties={"key": f"{text} "}), properties={"key": value})
    assert not has(ListQuery(properties={"Key": text}), properties={"key": value})
    assert not has(ListQuery(properties={"key": text, "other": ""}), properties={"key": value})


@pytest.mark.parametrize("text", ["", "None", "null"])
def test_property_without_a_value_equals_nothing(text: str) -> None:
    assert not has(ListQuery(properties={"key": text}), properties={"key": None})


def test_field_is_no_property() -> None:
    assert not has(ListQuery(properties={"name": "x"}), name="x")


@pytest.mark.parametrize(
    ("time", "is_changed"),
    [(None, False), (DAY, False), (NAIVE, False), (EAST, False), (LATER, True)],
)
def test_changes_are_strictly_later(time: datetime | None, is_changed: bool) -> None:
    assert has(ListQuery(changed_after=NAIVE), updated_at=time) == is_changed


def test_all_conditions_must_hold() -> None:
    texts = {"name": frozenset({"x"})}
    query = ListQuery(texts=texts, size_min=1, protected=True, properties={"key": "y"})
    fits: dict[str, Any] = {"name": "x", "size": 1, "protected": True, "properties": {"key": "y"}}
    assert has(query, **fits)
    wrong: dict[str, Any] = {"name": "z", "size": 0, "protected": False, "properties": {}}
    for name, value in wrong.items():
        assert not has(query, **{**fits, name: value})
