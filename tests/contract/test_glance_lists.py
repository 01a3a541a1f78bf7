# SPDX-License-Identifier: Apache-2.0
"""Lists, members and versions that a real Glance answered, asked of imageapi in process.

tests/data/glance_lists.json has Glance's images, the requests, and Glance's answers.  If
imageapi must answer differently, it also has that answer, and the rows of docs/wire.md that
require it.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
import webob

from imageapi import Caller
from imageapi.errors import BackendUnavailable
from imageapi.image import Image
from tests.memory import Memory
from tests.paths import ROOT

TABLE = json.loads((ROOT / "tests/data/glance_lists.json").read_text(encoding="utf-8"))
CASES: list[dict[str, Any]] = TABLE["cases"]
IMAGES: dict[int, dict[str, Any]] = {image["number"]: image for image in TABLE["images"]}
NUMBERS = {image["id"]: number for number, image in IMAGES.items()}

BRIEF = ("id", "name", "size", "disk_format", "container_format", "checksum")
TIMES = ("created_at", "updated_at", "deleted_at")
NOT_IN_DETAILS = ("number", "members")

Facets = dict[str, Any]


# The application of each deployment of the table, with the images of the table.


def record_of(image: Mapping[str, Any]) -> Image:
    fields = {name: value for name, value in image.items() if name != "number"}
    times = {name: fields[name] and datetime.fromisoformat(fields[name]) for name in TIMES}
    members = frozenset(project for project, _ in image["members"])
    return Image(**{**fields, **times, "members": members})


def out_of_reach(*_: object) -> Any:
    raise BackendUnavailable("no connection")


@pytest.fixture(scope="module")
def ask_glance(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[dict[str, Any]], Facets]]:
    made: dict[str, Memory] = {}

    def memory_of(name: str) -> Memory:
        if name not in made:
            made[name] = deployed(TABLE["deployments"][name], tmp_path_factory.mktemp("lists"))
        return made[name]

    yield lambda case: answer_to(memory_of(case["deployment"]), case)
    for memory in made.values():
        memory.api.close()


def deployed(deployment: dict[str, Any], folder: Path) -> Memory:
    rules = deployment.get("rules")
    memory = Memory(folder, rules and json.dumps(rules), **deployment.get("options", {}))
    for number in IMAGES:
        if number in TABLE["populations"][deployment["population"]]:
            memory.registry.put(record_of(IMAGES[number]))
    for number, changes in deployment.get("changes", {}).items():
        memory.registry.put(record_of({**IMAGES[int(number)], **changes}))
    if deployment.get("is_unreachable"):
        for method in ("get", "list"):
            setattr(memory.registry, method, out_of_reach)
    return memory


def answer_to(memory: Memory, case: dict[str, Any]) -> Facets:
    response = request_of(case).send(memory.api)
    return facets_of(case["method"], response.status_int, dict(response.headers), response.body)


def request_of(case: dict[str, Any]) -> webob.Request:
    # A server that gets the whole URL takes the path of it.
    _, _, path = case["path"].rpartition(f"http://{case['headers'].get('Host')}")
    path, _, query = path.partition("?")
    request = webob.Request.blank("/", method=case["method"])
    if "Host" not in case["headers"]:
        del request.environ["HTTP_HOST"]
        request.environ.update(SERVER_NAME="127.0.0.1", SERVER_PORT="9292")
    request.headers.update(case["headers"])
    request.environ["PATH_INFO"] = unquote_to_bytes(path).decode("latin-1")
    request.environ["QUERY_STRING"] = query.encode().decode("latin-1")
    if case["caller"] == "noauth":
        request.environ["imageapi.caller"] = Caller(is_admin=True)
    else:
        # keystonemiddleware has checked the identity headers.
        request.environ["keystone.token_auth"] = object()
        request.headers.update(TABLE["callers"][case["caller"]])
    return request


# What is compared of an answer.


def facets_of(method: str, status: int, headers: Mapping[str, str], body: bytes) -> Facets:
    """The status, the headers that matter, and what the document has, in its order.

    In lists, images are named by their numbers, and "values" has what differs from the
    values of the table.  The words of errors are imageapi's own, and are not compared.
    """
    facets: Facets = {"status": status, "type": headers.get("Content-Type")}
    facets |= {name.lower(): headers[name] for name in ("Allow", "Location") if name in headers}
    if method == "HEAD" or not body:
        return {**facets, "body": "empty"}
    if status >= 400 or not facets["type"].startswith("application/json"):
        return {**facets, "body": "text"}
    document = json.loads(body)
    for name, read in READERS.items():
        if name in document:
            return {**facets, "body": name, **read(document[name])}
    return {**facets, "body": "another document"}


def facets_of_images(entries: list[dict[str, Any]]) -> Facets:
    known = [(NUMBERS.get(entry["id"], entry["id"]), entry) for entry in entries]
    is_detailed = any("status" in entry for entry in entries)
    values = {str(number): differing(number, entry, is_detailed) for number, entry in known}
    values = {number: those for number, those in values.items() if those}
    facets: Facets = {"order": [number for number, _ in known]}
    if entries:
        facets["is_detailed"] = is_detailed
    return {**facets, "values": values} if values else facets


def differing(number: int, entry: dict[str, Any], is_detailed: bool) -> dict[str, Any]:
    image = IMAGES[number]
    names = [name for name in image if name not in NOT_IN_DETAILS] if is_detailed else BRIEF
    assert set(entry) == set(names)
    return {name: entry[name] for name in names if entry[name] != image[name]}


def facets_of_members(entries: list[dict[str, Any]]) -> Facets:
    return {
        "order": [entry["member_id"] for entry in entries],
        "values": [entry["can_share"] for entry in entries],
    }


def facets_of_shared(entries: list[dict[str, Any]]) -> Facets:
    return {
        "order": [NUMBERS[entry["image_id"]] for entry in entries],
        "values": [entry["can_share"] for entry in entries],
    }


def facets_of_versions(entries: list[dict[str, Any]]) -> Facets:
    return {
        "order": [entry["id"] for entry in entries],
        "values": [entry["status"] for entry in entries],
        "links": sorted({json.dumps(entry["links"], sort_keys=True) for entry in entries}),
    }


READERS: dict[str, Callable[[list[dict[str, Any]]], Facets]] = {
    "images": facets_of_images,
    "members": facets_of_members,
    "shared_images": facets_of_shared,
    "versions": facets_of_versions,
}


# The tests.


SECTIONS = sorted({case["name"].partition("-")[0] for case in CASES})


@pytest.mark.parametrize("section", SECTIONS)
def test_answers_are_those_of_the_table(
    ask_glance: Callable[[dict[str, Any]], Facets], section: str
) -> None:
    """Each section is one test, because there are hundreds of cases."""
    cases = [case for case in CASES if case["name"].partition("-")[0] == section]
    answers = {case["name"]: ask_glance(case) for case in cases}
    assert answers == {case["name"]: case.get("ours", case["glance"]) for case in cases}


def test_all_that_differs_from_glance_names_its_row() -> None:
    for case in CASES:
        glance, ours = case["glance"], case.get("ours", case["glance"])
        differing = {name for name in glance | ours if glance.get(name) != ours.get(name)}
        better = case.get("better", {})
        assert {name for names in better.values() for name in names} == differing, case["name"]
        assert all(better.values()), case["name"]
        assert ("better" in case) == ("ours" in case) == bool(differing), case["name"]


def test_rows_are_those_of_the_contract() -> None:
    contract = (ROOT / "docs/wire.md").read_text(encoding="utf-8")
    rows = {row for case in CASES for row in case.get("better", ())}
    assert rows == set(TABLE["rows"])
    assert {row for row in rows if f"({row})" not in contract} == set()


def test_names_of_cases_are_unique() -> None:
    assert len({case["name"] for case in CASES}) == len(CASES)
