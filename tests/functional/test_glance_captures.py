# SPDX-License-Identifier: Apache-2.0
"""Requests that a real Glance answered, sent to imageapi over a real socket.

tests/data/glance_captures.json has the requests and Glance's answers. If imageapi must
answer differently, it also has that answer, and the rows of docs/wire.md that require it.
"""

import hashlib
import html
import json
import os
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

import pytest

from tests.deployment import Deployment
from tests.functional.identity_app import running_identity_app
from tests.functional.raw_client import Pause, RawAnswer, exchange
from tests.functional.servers import free_port
from tests.paths import ROOT

TABLE = json.loads((ROOT / "tests/data/glance_captures.json").read_text(encoding="utf-8"))
CASES: list[dict[str, Any]] = TABLE["cases"]

# Headers that do not depend on the image; see "about" in the table.
IGNORED = ("Connection", "Date", "Server")

META = "X-Image-Meta-"
ALL_META = "X-Image-Meta-*"

Facets = dict[str, object]


# The values of the table.


@cache
def replacing_bytes(name: str) -> bytes:
    """Bytes that replace the captured ones."""
    data = TABLE["data"][name]
    if "text" in data:
        return bytes(data["text"], "utf-8")
    return hashlib.shake_256(data.get("of", name).encode()).digest(data["length"])


def raw_request(case: dict[str, Any], port: int) -> bytes:
    request = case["request"]
    lines = [f"{request['method']} {request['path']} HTTP/{request['http']}"]
    lines += [f"{name}: {value}" for name, value in request["headers"]]
    text = "\r\n".join([*lines, "", request.get("body", "")])
    return text.replace("{host}", f"127.0.0.1:{port}").encode()


def asked_id(case: dict[str, Any]) -> str | None:
    """The last segment of the path; None if it is not text."""
    segment = case["request"]["path"].partition("?")[0].rpartition("/")[2]
    try:
        return unquote(segment, errors="strict")
    except UnicodeDecodeError:
        return None


# The parts of an answer that are compared, from the table and from the server.


def facets_in_table(case: dict[str, Any], answer: dict[str, Any]) -> Facets:
    headers = dict(answer["headers"])
    meta = case["image"] and TABLE["images"][case["image"]]["details"]
    return facets(
        case,
        status=answer["status"],
        headers=headers,
        meta=dict(meta) if answer.get("details") else {},
        body=_body_in_table(case, answer),
        connection=answer["connection"],
    )


def facets_that_came(case: dict[str, Any], answer: RawAnswer, port: int, private: str) -> Facets:
    headers = {name: text for name, text in answer.headers.items() if name not in IGNORED}
    for rule in TABLE["rules"]:
        expected = RULES[rule["header"]](case, headers, port)
        assert headers.pop(rule["header"], None) == expected, rule
    meta = {name: headers.pop(name) for name in list(headers) if name.startswith(META)}
    wanted = case.get("ours", case["glance"])["body"]
    body: object = _measure(answer.body)
    if wanted is not None and "beginning" in wanted:
        body = _beginning(wanted, answer.body)
    if not meta and answer.status >= 400 and answer.body:
        body = _gist(case, headers["Content-Type"], answer.body.decode(), private)
    return facets(
        case,
        status=answer.status,
        headers=headers,
        meta=meta,
        body=body,
        connection=answer.connection,
    )


def facets(
    case: dict[str, Any], *, headers: dict[str, str], meta: dict[str, str], **others: object
) -> Facets:
    if not meta and case["request"]["method"] != "HEAD":
        # The length of an error's text, which differs from Glance's.
        headers.pop("Content-Length", None)
    return {**others, **headers, ALL_META: meta}


def _uri(case: dict[str, Any], headers: Mapping[str, str], port: int) -> str | None:
    path = unquote(case["request"]["path"].partition("?")[0])
    return f"http://127.0.0.1:{port}{quote(path)}" if f"{META}Id" in headers else None


def _accept_ranges(case: dict[str, Any], headers: Mapping[str, str], port: int) -> str | None:
    return "bytes" if headers.get(f"{META}Status") == "active" else None


RULES = {"X-Image-Meta-Uri": _uri, "Accept-Ranges": _accept_ranges}


def _body_in_table(case: dict[str, Any], answer: dict[str, Any]) -> object:
    body = answer["body"]
    if body is None:
        return _measure(b"")
    if "beginning" in body:
        return _beginning(body, b"")
    if "data" in body:
        return _measure(replacing_bytes(body["data"])[body.get("start", 0) : body.get("stop")])
    if "error" in body:
        return {**body, "tells_path": False}
    if answer["status"] >= 400:
        return _gist(case, answer["headers"]["Content-Type"], body["text"], "/STORE")
    return _measure(body["text"].encode())


def _measure(data: bytes) -> object:
    if data.startswith(b'{"images": '):
        # A list, whose members may be in any order.
        return json.loads(data)
    return {"length": len(data), "md5": hashlib.md5(data).hexdigest()}


def _beginning(body: dict[str, Any], data: bytes) -> object:
    """Whether data is the beginning of the data in the table, of any length."""
    return {"is_beginning": replacing_bytes(body["data"])[: body["beginning"]].startswith(data)}


def _gist(case: dict[str, Any], content_type: str, text: str, private: str) -> object:
    """What an error's body reveals, apart from its wording.

    :param private: the beginning of paths that the body must not contain.
    """
    image_id = asked_id(case)
    match content_type:
        case "application/json":
            document = json.loads(text)
            title, words = document["code"], document["message"]
        case "text/html; charset=UTF-8":
            title = re.findall("<h1>(.*)</h1>", text)[0]
            words, image_id = text, image_id and html.escape(image_id)
        case _:
            title, _, words = text.partition("\n")
    return {
        "error": int(title.split()[0]),
        "names_image": bool(image_id) and image_id in words,
        "tells_path": private in words,
    }


# One server has a port for each deployment. Each case sets up its records and data.


class Captured(NamedTuple):
    files: Deployment
    ports: Mapping[str, int]


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Captured]:
    files = Deployment(tmp_path_factory.mktemp("glance") / "deployment")
    ports: dict[str, int] = {}
    for name in TABLE["deployments"]:
        ports[name] = _another_port(ports)
    settings = {
        port: {
            "caller": TABLE["deployments"][name]["caller"],
            "config_files": _config_files(files, name),
        }
        for name, port in ports.items()
    }
    with running_identity_app(files.folder, settings):
        yield Captured(files, ports)


def _another_port(ports: Mapping[str, int]) -> int:
    while (port := free_port()) in ports.values():
        pass
    return port


def _config_files(files: Deployment, name: str) -> list[str]:
    """The common configuration file, and a second one with the settings of this deployment."""
    deployment = TABLE["deployments"][name]
    folder = files.folder / quote(name)
    folder.mkdir()
    lines = []
    if "rules" in deployment:
        (folder / "policy.yaml").write_text(json.dumps(deployment["rules"]))
        lines += ["[imageapi_policy_rules]", f"policy_file = {folder}/policy.yaml"]
    if deployment.get("registry") == "absent":
        lines += ["[imageapi_registry_file]", f"directory = {folder}/absent"]
    special = folder / "special.conf"
    special.write_text("\n".join(lines))
    return [str(files.config_file), str(special)]


def _set_up(files: Deployment, case: dict[str, Any]) -> None:
    for folder in (files.registry, files.images):
        for path in folder.iterdir():
            path.unlink()
    if case["image"] is None:
        return
    image = TABLE["images"][case["image"]]
    record = dict(image["record"])
    if image["data"] is not None:
        files.data_path(record["id"]).write_bytes(replacing_bytes(image["data"]))
    files.record(record["id"], **record)


def _pause(files: Deployment, case: dict[str, Any]) -> Pause | None:
    if "fault" not in case:
        return None
    fault = case["fault"]
    path = files.data_path(TABLE["images"][case["image"]]["record"]["id"])
    return Pause(fault["after_bytes"], lambda: os.truncate(path, fault["cut_to"]))


# The tests.


def _param(case: dict[str, Any]) -> Any:
    """A test parameter for a case, with the rows of docs/wire.md that it shows."""
    marks = [pytest.mark.wire(row) for row in case.get("better", ())]
    return pytest.param(case, id=case["name"], marks=marks)


each_case = pytest.mark.parametrize("case", [_param(case) for case in CASES])


@each_case
def test_the_library_answers_as_the_table_says(captured: Captured, case: dict[str, Any]) -> None:
    port = captured.ports[case["deployment"]]
    _set_up(captured.files, case)
    answer = exchange(port, raw_request(case, port), _pause(captured.files, case))
    assert str(captured.files.folder) not in str(answer.headers)
    came = facets_that_came(case, answer, port, str(captured.files.folder))
    assert came == facets_in_table(case, case.get("ours", case["glance"]))


@each_case
def test_all_that_differs_from_glance_names_its_row(case: dict[str, Any]) -> None:
    glance = facets_in_table(case, case["glance"])
    ours = facets_in_table(case, case.get("ours", case["glance"]))
    differing = {name for name in glance | ours if glance.get(name) != ours.get(name)}
    named = [name for names in case.get("better", {}).values() for name in names]
    assert sorted(named) == sorted(differing)
    assert ("better" in case) == ("ours" in case) == bool(differing)
    assert set(case.get("better", ())) <= set(TABLE["rows"])


def test_rows_are_those_of_the_contract() -> None:
    contract = (ROOT / "docs/wire.md").read_text(encoding="utf-8")
    _, *sections = re.split(r"^## (.*)$", contract, flags=re.MULTILINE)
    text_of = dict(zip(sections[::2], sections[1::2], strict=True))
    for name, row in TABLE["rows"].items():
        assert f"({name})" in text_of[row["section"]]
    used = {row for case in CASES for row in case.get("better", ())}
    assert used | {rule["row"] for rule in TABLE["rules"]} == set(TABLE["rows"])


def test_table_is_sound() -> None:
    assert len({case["name"] for case in CASES}) == len(CASES)
    assert {rule["header"] for rule in TABLE["rules"]} == set(RULES)
    for name, data in TABLE["data"].items():
        assert _measure(replacing_bytes(name)) == {"length": data["length"], "md5": data["md5"]}
