# SPDX-License-Identifier: Apache-2.0
"""docs/wire.md, Protected properties: images, callers, and each way to see properties."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imageapi.caller import ANONYMOUS, Caller
from imageapi.image import Image
from tests.events import Recorder
from tests.memory import ADMIN, Memory, image_of
from tests.property_protections import protection_file

READERS = {
    "^open_": "@",
    "^nobody_": "!",
    "member_": "member",
    "^staff_|^Case$": "Reader, member",
    "^admin_": "admin",
    "^case$": "@",
}
RULES = {
    "^open_": "@",
    "^nobody_": "!",
    "member_": "members",
    "^staff_|^Case$": "staff",
    "^admin_": "admins",
    "^case$": "@",
}
POLICY = """\
"get_image": "not 'hide':%(member_note)s"
"download_image": "not 'no':%(open_data)s or 'yes':%(staff_data)s"
"members": "role:member"
"staff": "role:reader or role:member"
"admins": "role:admin"
"""
MEMBER = Caller(user_id="u1", project_id="p1", roles=("Member",))
READER = Caller(user_id="u2", project_id="p1", roles=("other", "reader"))
CALLERS = {"anonymous": ANONYMOUS, "member": MEMBER, "reader": READER, "admin": ADMIN}
MAY_READ = {
    "anonymous": {"open_x", "case"},
    "member": {"open_x", "case", "xmember_y", "staff_data", "Case"},
    "reader": {"open_x", "case", "staff_data", "Case"},
    "admin": {"open_x", "case", "admin_a-b"},
}
PROPERTIES = {
    "open_x": "1",
    "xmember_y": "2",
    "staff_data": "3",
    "admin_a-b": "4",
    "nobody_x": "5",
    "unlisted": "6",
    "case": "7",
    "Case": "8",
    "OPEN_x": "9",
    "os_glance_importing_to_stores": "10",
    "OS_GLANCE_open_x": "11",
}
IMAGES: dict[str, dict[str, Any]] = {
    "all": {"properties": PROPERTIES},
    "some": {"properties": {"unlisted": "1", "open_x": "2"}},
    "none": {},
}


@pytest.fixture(params=["roles", "policies"], scope="module")
def protected(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Memory]:
    """An application with protections in each of the formats."""
    memory = protected_by(tmp_path_factory.mktemp("protected"), request.param)
    for name, fields in IMAGES.items():
        memory.put(id=name, **fields)
    yield memory
    memory.api.close()


def protected_by(folder: Path, rule_format: str) -> Memory:
    path = protection_file(folder, RULES if rule_format == "policies" else READERS)
    return Memory(
        folder,
        rules=POLICY,
        property_protection_file=path,
        property_protection_rule_format=rule_format,
    )


def in_headers(response: Any) -> set[str]:
    prefix = "X-Image-Meta-Property-"
    return {name.removeprefix(prefix) for name in response.headers if name.startswith(prefix)}


def in_document(response: Any, image_id: str) -> set[str]:
    (found,) = (one for one in json.loads(response.body)["images"] if one["id"] == image_id)
    return set(found["properties"])


def as_header(names: set[str]) -> set[str]:
    return {"-".join(part.capitalize() for part in name.lower().split("-")) for name in names}


class Way(NamedTuple):
    """A request that shows properties, and the properties that it shows."""

    names: Callable[[Memory, str, Caller], set[str]]
    of: Callable[[set[str]], set[str]] = set


WAYS = {
    "GET": Way(
        lambda memory, id_, caller: in_headers(memory.get(f"/v1/images/{id_}", caller=caller)),
        as_header,
    ),
    "HEAD": Way(
        lambda memory, id_, caller: in_headers(memory.head(f"/v1/images/{id_}", caller=caller)),
        as_header,
    ),
    **{
        path: Way(
            lambda memory, id_, caller, path=path: in_document(  # type: ignore[misc]  # bound early
                memory.get(path.format(id_), caller=caller), id_
            )
        )
        for path in (
            "/v1/images/{}?format=json",
            "/v1/images/detail",
            "/v1/images/detail?format=json",
        )
    },
}


@pytest.mark.wire("protected-hidden")
@pytest.mark.wire("protected-decision")
@pytest.mark.wire("protected-reserved")
@pytest.mark.parametrize("who", CALLERS)
@pytest.mark.parametrize("way", WAYS)
def test_what_each_caller_is_shown(protected: Memory, who: str, way: str) -> None:
    names, of = WAYS[way]
    for image_id, fields in IMAGES.items():
        expected = MAY_READ[who] & set(fields.get("properties", ()))
        assert names(protected, image_id, CALLERS[who]) == of(expected)


@pytest.mark.wire("protected-filter")
@pytest.mark.parametrize("who", CALLERS)
@pytest.mark.parametrize("path", ["/v1/images", "/v1/images/detail"])
def test_a_filter_finds_only_what_the_caller_may_read(
    protected: Memory, who: str, path: str
) -> None:
    found = {
        name
        for name, text in PROPERTIES.items()
        if found_by(protected, path, {f"property-{name}": text}, CALLERS[who])
    }
    assert found == MAY_READ[who]
    both = {"property-open_x": "1", "property-nobody_x": "5"}
    assert found_by(protected, path, both, CALLERS[who]) == []


def found_by(memory: Memory, path: str, query: Mapping[str, str], caller: Caller) -> list[str]:
    response = memory.get(f"{path}?{urlencode(query)}", caller=caller)
    return [one["id"] for one in json.loads(response.body)["images"]]


@pytest.mark.wire("protected-filter")
def test_other_parameters_are_examined_all_the_same(protected: Memory) -> None:
    for query in ("limit=x", "marker=absent"):
        response = protected.get(f"/v1/images?property-nobody_x=5&{query}")
        assert response.status_code == 400


@pytest.mark.wire("protected-reserved")
@pytest.mark.parametrize("way", WAYS)
def test_what_glance_reserves_is_hidden_without_protections(memory: Memory, way: str) -> None:
    memory.put(id="all", **IMAGES["all"])
    names, of = WAYS[way]
    shown = {name for name in PROPERTIES if not name.lower().startswith("os_glance_")}
    assert names(memory, "all", ADMIN) == of(shown)
    query = {"property-os_glance_importing_to_stores": "10"}
    assert found_by(memory, "/v1/images", query, ADMIN) == []


@pytest.mark.wire("protected-target")
def test_rules_see_what_the_caller_is_shown(tmp_path: Path) -> None:
    """A rule that refuses because of a property needs a caller who may read it."""
    memory = protected_by(tmp_path, "policies")
    memory.put(id="hidden", properties={"member_note": "hide"})
    memory.put(id="half", properties={"open_data": "no", "staff_data": "yes"})
    status = {
        (who, image_id): memory.get(f"/v1/images/{image_id}", caller=caller).status_code
        for who, caller in CALLERS.items()
        for image_id in ("hidden", "half")
    }
    assert [status[who, "hidden"] for who in CALLERS] == [200, 403, 200, 200]
    assert [status[who, "half"] for who in CALLERS] == [403, 200, 200, 403]
    for who, caller in CALLERS.items():
        listed = who != "member"
        assert ("hidden" in found_by(memory, "/v1/images", {}, caller)) is listed
        members = memory.get("/v1/images/hidden/members", caller=caller).status_code
        assert members == status[who, "hidden"]
        marked = memory.get("/v1/images?marker=hidden", caller=caller).status_code
        assert marked == (200 if listed else 400)
    memory.api.close()


def test_events_have_what_the_caller_is_shown(tmp_path: Path) -> None:
    recorder = Recorder()
    path = protection_file(tmp_path, READERS)
    memory = Memory(tmp_path, events=[recorder], property_protection_file=path)
    memory.put(id="all", **IMAGES["all"])
    memory.get("/v1/images/all", caller=READER)
    image = recorder.only().image
    assert image is not None
    assert set(image.properties) == MAY_READ["reader"]
    memory.api.close()


@pytest.mark.wire("protected-hidden")
def test_only_what_is_shown_counts_for_the_limit_of_headers(tmp_path: Path) -> None:
    path = protection_file(tmp_path, {"^b$|^B$": "!", ".": "@"})
    memory = Memory(tmp_path, property_protection_file=path, max_property_headers=2)
    memory.put(properties=dict.fromkeys("aBbc", "x"))
    assert in_headers(memory.get()) == {"A", "C"}
    memory.api.close()


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[tuple[Memory, Memory]]]:
    """Applications with protections in each format, each with one that has none."""
    made = []
    for rule_format in ("roles", "policies"):
        folder = tmp_path_factory.mktemp(rule_format)
        plain = Memory(tmp_path_factory.mktemp("plain"), rules=POLICY)
        made.append((protected_by(folder, rule_format), plain))
    yield made
    for pair in made:
        for memory in pair:
            memory.api.close()


keys = st.sampled_from(
    [
        "open_x",
        "OPEN_x",
        "open_data",
        "member_note",
        "staff_data",
        "Case",
        "case",
        "os_glance_x",
        "z",
    ]
)
values = st.sampled_from(["no", "yes", "hide", "", None, 5, [1]])
records = st.lists(st.dictionaries(keys, values, max_size=5), min_size=1, max_size=3)


@pytest.mark.wire("protected-hidden")
@pytest.mark.wire("protected-filter")
@pytest.mark.wire("protected-target")
@given(records, st.sampled_from(sorted(CALLERS)), st.none() | st.tuples(keys, st.just("no")))
def test_answers_are_those_of_records_without_the_hidden_properties(
    twins: list[tuple[Memory, Memory]],
    properties: list[dict[str, Any]],
    who: str,
    wanted: tuple[str, str] | None,
) -> None:
    """Byte for byte, so no answer depends on what is hidden."""
    caller = CALLERS[who]
    query = f"?{urlencode({'property-' + wanted[0]: wanted[1]})}" if wanted else "?"
    paths = [f"/v1/images{query}", f"/v1/images/detail{query}", "/v1/images/detail?format=json"]
    for number, _ in enumerate(properties):
        path = f"/v1/images/i{number}"
        paths += [path, f"{path}?format=json", f"{path}/members", f"/v1/images?marker=i{number}"]
    for protected, plain in twins:
        reader = protected.api._auth.reader(caller)
        for number, names in enumerate(properties):
            full = image_of(b"data", id=f"i{number}", properties=names)
            store_image(protected, full)
            shown = {name: text for name, text in names.items() if reader.may_read(name)}
            store_image(plain, replace(full, properties=shown))
        for path in paths:
            for ask in (Memory.get, Memory.head):
                expected = ask(plain, path, caller=caller)
                found = ask(protected, path, caller=caller)
                assert found.status == expected.status
                assert found.headerlist == expected.headerlist
                assert found.body == expected.body
        for memory in (protected, plain):
            for number, _ in enumerate(properties):
                memory.registry.remove(f"i{number}")


def store_image(memory: Memory, image: Image) -> None:
    memory.registry.put(image)
    memory.store.put(image.id, b"data")
