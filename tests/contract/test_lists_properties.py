# SPDX-License-Identifier: Apache-2.0
"""docs/wire.md, Lists, for random images, callers, policies and queries, over HTTP."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imageapi import Caller
from imageapi.backends.listing import SORT_KEYS
from imageapi.image import STATUSES, Image
from tests.memory import ADMIN, MEMBER, OTHER, Memory

CALLERS = (
    Caller(),
    MEMBER,
    OTHER,
    ADMIN,
    Caller(user_id="u3", project_id=""),
    Caller(user_id="u4"),
)
POLICIES = {
    "visible": None,
    "by-name": '"get_image": "not \'a\':%(name)s"',
    "by-owner": '"get_image": "project_id:%(owner)s or role:admin"',
    "by-property": '"get_image": "\'v\':%(k)s"',
    "no-images": '"get_image": "!"',
    "no-lists": '"get_images": "!"',
    "admins-lists": '"get_images": "role:admin"\n"get_members": "!"',
}
DAY = datetime(2010, 2, 3, 9, 34, 1, tzinfo=UTC)
IDS = [f"i{n}" for n in range(10)]

# The same few values again and again, because faults show in ties.
times = st.sampled_from(
    [
        None,
        DAY,
        DAY.replace(tzinfo=None),
        DAY.astimezone(timezone(timedelta(hours=2))),
        DAY + timedelta(microseconds=1),
        DAY + timedelta(days=1),
    ]
)
texts = st.sampled_from([None, "", "a", "A", "b", "\u00fc", "\uff41", "\U0001f600", "a:b", "a,b"])
projects = st.sampled_from([None, "", "p0", "p1", "p2"])
values: dict[str, st.SearchStrategy[Any]] = {
    "name": texts,
    "disk_format": texts,
    "container_format": texts,
    "size": st.sampled_from([None, 0, 1, 2**63]),
    "created_at": times,
    "updated_at": times,
    "protected": st.booleans(),
    "min_ram": st.integers(0, 1),
    "min_disk": st.integers(0, 1),
    "properties": st.dictionaries(
        st.sampled_from(["k", "K"]), st.sampled_from(["v", "", None, True, 5, [1]]), max_size=2
    ),
}
visible = {
    "status": st.sampled_from(["active", "queued", "deactivated"]),
    "is_public": st.just(True),
}
hidden_too = {
    "status": st.sampled_from(sorted(STATUSES)),
    "is_public": st.booleans(),
    "deleted": st.booleans(),
    "owner": projects,
    "members": st.frozensets(st.sampled_from(["", "p1", "p2"])),
}


def random_images(
    fields: Mapping[str, st.SearchStrategy[Any]], *, at_least: int = 0
) -> st.SearchStrategy[list[Image]]:
    """Some images with different ids."""
    made = st.fixed_dictionaries({"id": st.sampled_from(IDS), **values, **fields})
    return st.lists(
        made.map(lambda given: Image(**given)),
        unique_by=lambda image: image.id,
        min_size=at_least,
        max_size=len(IDS),
    )


orders = st.fixed_dictionaries(
    {"sort_key": st.sampled_from(SORT_KEYS), "sort_dir": st.sampled_from(["asc", "desc"])}
)
queries = st.fixed_dictionaries(
    {},
    optional={
        "is_public": st.sampled_from(["true", "false", "none"]),
        "changes-since": st.sampled_from(["2009-01-01", "2010-02-03T09:34:01Z"]),
        "name": texts.map(lambda text: text or ""),
        "status": st.sampled_from(["active", "in:killed,deleted", "pending_delete"]),
        "size_min": st.just("0"),
        "size_max": st.just("1"),
        "min_ram": st.just("1"),
        "min_disk": st.just("0"),
        "protected": st.sampled_from(["true", "false"]),
        "property-k": st.sampled_from(["v", "", "True", "5", "None"]),
        "sort_key": st.sampled_from(SORT_KEYS),
        "sort_dir": st.sampled_from(["asc", "desc"]),
        "limit": st.sampled_from(["0", "1", "3", "1000"]),
        "marker": st.sampled_from(IDS),
    },
)


@pytest.fixture(scope="module")
def policed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Memory]]:
    """An application for each policy."""
    made = {name: Memory(tmp_path_factory.mktemp(name), rules) for name, rules in POLICIES.items()}
    yield made
    for memory in made.values():
        memory.api.close()


@pytest.fixture(scope="module")
def unpoliced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Memory]:
    memory = Memory(tmp_path_factory.mktemp("unpoliced"))
    yield memory
    memory.api.close()


policies = st.sampled_from(sorted(POLICIES))


def fill_registry(memory: Memory, images: Sequence[Image]) -> None:
    """Let the registry have just these images."""
    memory.registry._images.clear()
    for image in images:
        memory.registry.put(image)


def answer(memory: Memory, path: str, query: Mapping[str, str], caller: Caller) -> Any:
    """The document of a GET; None if it is refused."""
    response = memory.get(f"{path}?{urlencode(query)}", caller=caller)
    assert response.status_code in (200, 400, 403, 404)
    return json.loads(response.body) if response.status_code == 200 else None


def ids_of_list(
    memory: Memory, query: Mapping[str, str], caller: Caller, path: str = "/v1/images"
) -> list[str]:
    """The ids of a list that must not be refused."""
    document = answer(memory, path, query, caller)
    assert document is not None
    return [image["id"] for image in document["images"]]


def head_status(memory: Memory, image_id: str, caller: Caller) -> int:
    return memory.head(f"/v1/images/{quote(image_id)}", caller=caller).status_code


# What HEAD hides.


def list_everything(memory: Memory, patch: pytest.MonkeyPatch) -> None:
    """Let the registry list every image, whatever the query says."""
    images = memory.registry._images
    patch.setattr(memory.registry, "list", lambda *_: (image for image in images.values()))


@given(
    policy=policies,
    images=random_images(hidden_too),
    caller=st.sampled_from(CALLERS),
    query=queries,
    path=st.sampled_from(["/v1/images", "/v1/images/detail", "/v1.0/images"]),
    is_careless=st.booleans(),
)
def test_list_shows_nothing_that_head_hides(
    policed: dict[str, Memory],
    policy: str,
    images: list[Image],
    caller: Caller,
    query: dict[str, str],
    path: str,
    is_careless: bool,
) -> None:
    """Also if the registry lists what it should not."""
    memory = policed[policy]
    fill_registry(memory, images)
    with pytest.MonkeyPatch.context() as patch:
        if is_careless:
            list_everything(memory, patch)
        document = answer(memory, path, query, caller) or {"images": []}
    for image in document["images"]:
        assert head_status(memory, image["id"], caller) == 200


@given(
    policy=policies,
    images=random_images(hidden_too),
    caller=st.sampled_from(CALLERS),
    project=st.sampled_from(["p0", "p1", "p2", "p3"]),
)
def test_shared_images_show_nothing_that_head_hides(
    policed: dict[str, Memory], policy: str, images: list[Image], caller: Caller, project: str
) -> None:
    memory = policed[policy]
    fill_registry(memory, images)
    document = answer(memory, f"/v1/shared-images/{project}", {}, caller) or {"shared_images": []}
    for unpoliced in document["shared_images"]:
        assert head_status(memory, unpoliced["image_id"], caller) == 200
        assert project in memory.registry.get(unpoliced["image_id"], caller).members
        assert caller.is_admin or caller.project_id == project


@given(policy=policies, images=random_images(hidden_too), caller=st.sampled_from(CALLERS))
def test_members_show_no_image_that_head_hides(
    policed: dict[str, Memory], policy: str, images: list[Image], caller: Caller
) -> None:
    memory = policed[policy]
    fill_registry(memory, images)
    for image in images:
        document = answer(memory, f"/v1/images/{image.id}/members", {}, caller)
        if document is not None:
            assert head_status(memory, image.id, caller) == 200
            told = {member["member_id"] for member in document["members"]}
            sees_all = caller.is_admin or (caller.project_id and caller.project_id == image.owner)
            assert told == (
                image.members if sees_all else image.members & {caller.project_id or None}
            )


@given(
    policy=policies,
    images=random_images(hidden_too),
    marker=st.sampled_from(IDS),
    order=orders,
    caller=st.sampled_from(CALLERS),
)
def test_marker_tells_nothing_of_an_image_that_head_hides(
    policed: dict[str, Memory],
    policy: str,
    images: list[Image],
    marker: str,
    order: dict[str, str],
    caller: Caller,
) -> None:
    """The answer is that for an absent image."""
    memory = policed[policy]
    fill_registry(memory, images)
    path = f"/v1/images?{urlencode({**order, 'marker': marker})}"
    response = memory.get(path, caller=caller)
    if response.status_code == 403:
        return
    assert (response.status_code == 200) == (head_status(memory, marker, caller) == 200)
    fill_registry(memory, [image for image in images if image.id != marker])
    if response.status_code == 400:
        absent = memory.get(path, caller=caller)
        assert (absent.status_code, absent.body) == (400, response.body)


# What a list contains.


def is_due(image: Image, caller: Caller) -> bool:
    """Whether a list without parameters contains an image: written without `ListQuery`."""
    if image.deleted or image.status in ("deleted", "pending_delete", "killed"):
        return False
    project = caller.project_id
    return image.is_public or bool(project and (project == image.owner or project in image.members))


@given(images=random_images(hidden_too), caller=st.sampled_from(CALLERS))
def test_list_contains_what_the_caller_owns_or_shares_and_all_that_is_public(
    unpoliced: Memory, images: list[Image], caller: Caller
) -> None:
    fill_registry(unpoliced, images)
    due = {image.id for image in images if is_due(image, caller)}
    ids = ids_of_list(unpoliced, {}, caller)
    assert sorted(ids) == sorted(due)


@given(images=random_images(hidden_too))
def test_admin_can_list_every_image(unpoliced: Memory, images: list[Image]) -> None:
    fill_registry(unpoliced, images)
    there = {image.id for image in images if is_due(image, ADMIN) or not image.is_public}
    ids = ids_of_list(unpoliced, {"is_public": "none"}, ADMIN)
    gone = {
        one.id
        for one in images
        if one.deleted or one.status in ("deleted", "killed", "pending_delete")
    }
    assert set(ids) == {image.id for image in images} - gone
    assert set(ids) == there - gone
    changed = ids_of_list(unpoliced, {"is_public": "none", "changes-since": "2009-01-01"}, ADMIN)
    assert set(changed) == {image.id for image in images if image.updated_at is not None}


def rank(image: Image, key: str) -> tuple[Any, ...]:
    """The place in an order: written without `ListQuery`."""
    place: list[Any] = []
    for name in (key, "created_at", "id"):
        value = getattr(image, name)
        if isinstance(value, datetime):
            aware = value if value.tzinfo else value.replace(tzinfo=UTC)
            value = (aware - DAY) // timedelta(microseconds=1)
        if isinstance(value, str):
            value = tuple(map(ord, value))
        place.append((0, 0) if value is None else (1, value))
    return tuple(place)


@given(images=random_images(visible), order=orders)
def test_list_is_in_order(unpoliced: Memory, images: list[Image], order: dict[str, str]) -> None:
    fill_registry(unpoliced, images)
    descending = order["sort_dir"] == "desc"
    by_place = sorted(images, key=lambda image: rank(image, order["sort_key"]), reverse=descending)
    assert ids_of_list(unpoliced, order, Caller()) == [image.id for image in by_place]


# Pages.

changes = st.lists(st.one_of(st.sampled_from(IDS), random_images(hidden_too)), max_size=6)


def change(memory: Memory, due: list[Any], stays: set[str], marker: str) -> None:
    """Remove an image, or add some; those that stay are left alone, and that of the marker."""
    if not due:
        return
    left = stays | {marker}
    one = due.pop()
    if isinstance(one, str) and one not in left:
        memory.registry._images.pop(one, None)
    elif not isinstance(one, str):
        for image in one:
            if image.id not in left:
                memory.registry.put(image)


def walk(
    memory: Memory,
    query: Mapping[str, str],
    limit: int,
    caller: Caller,
    due: list[Any],
    stays: set[str],
) -> Iterator[list[str]]:
    """The pages of a list, while images come and go between them."""
    marker: dict[str, str] = {}
    for _ in range(100):
        page = ids_of_list(memory, {**query, **marker, "limit": str(limit)}, caller)
        if not page:
            return
        yield page
        marker = {"marker": page[-1]}
        change(memory, due, stays, page[-1])
    pytest.fail("the walk never ends")


@given(
    images=random_images(hidden_too, at_least=3),
    stays=st.sets(st.sampled_from(IDS), min_size=3),
    order=orders,
    limit=st.integers(1, 4),
    caller=st.sampled_from(CALLERS),
    due=changes,
)
def test_walk_gives_each_image_that_stays_exactly_once(
    unpoliced: Memory,
    images: list[Image],
    stays: set[str],
    order: dict[str, str],
    limit: int,
    caller: Caller,
    due: list[Any],
) -> None:
    fill_registry(unpoliced, images)
    wanted = [image_id for image_id in ids_of_list(unpoliced, order, caller) if image_id in stays]
    pages = list(walk(unpoliced, order, limit, caller, list(due), stays))
    assert [image_id for page in pages for image_id in page if image_id in stays] == wanted


@given(
    images=random_images(hidden_too),
    query=queries,
    limit=st.integers(1, 4),
    caller=st.sampled_from(CALLERS),
)
def test_walk_without_changes_is_the_list_in_full_pages(
    unpoliced: Memory, images: list[Image], query: dict[str, str], limit: int, caller: Caller
) -> None:
    fill_registry(unpoliced, images)
    query = {name: text for name, text in query.items() if name not in ("limit", "marker")}
    pages = list(walk(unpoliced, query, limit, caller, [], set()))
    assert [image_id for page in pages for image_id in page] == ids_of_list(
        unpoliced, query, caller
    )
    assert all(len(page) == limit for page in pages[:-1])
