# SPDX-License-Identifier: Apache-2.0
"""Each advisory in SECURITY.md names tests that exist. This module has those that fit no other."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import webob

import imageapi
from imageapi import Caller, ImageAPIMiddleware
from tests.deployment import Deployment, get
from tests.memory import Memory
from tests.paths import ROOT

_ROW = re.compile(r"^\| ((?:CVE|OSSA|OSSN|LP)[ -][^|]*)\|[^|]*\|([^|]*)\|$", re.MULTILINE)
_TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")


def rows() -> list[tuple[str, list[tuple[str, str]]]]:
    """The advisories of each row of the table, and the tests that it names."""
    text = (ROOT / "SECURITY.md").read_text()
    return [(match[1].strip(), _TEST.findall(match[2])) for match in _ROW.finditer(text)]


@pytest.mark.parametrize(("advisories", "tests"), rows())
def test_table_names_tests_that_there_are(advisories: str, tests: list[tuple[str, str]]) -> None:
    assert tests
    for file, name in tests:
        assert name in functions_of(ROOT / "tests" / file), f"{file}::{name}"


def test_table_has_each_advisory() -> None:
    """The advisories of libraries of this kind."""
    told = " ".join(advisories for advisories, _ in rows())
    known = """
        CVE-2014-9493 CVE-2015-1195 CVE-2024-23334 CVE-2013-1840 CVE-2013-0212 CVE-2014-1948
        CVE-2026-34881 CVE-2020-15157 CVE-2013-4428 CVE-2026-22797 CVE-2025-62727 CVE-2024-42353
        CVE-2014-7144 OSSA-2026-001 OSSA-2026-004 OSSN-0048 OSSN-0075 OSSN-0078 OSSN-0105
        860862 2047688 2095304 2131085 1326781 1083070 1472449 2081009
    """
    assert [one for one in known.split() if one not in told] == []


def functions_of(path: Path) -> set[str]:
    """The tests of a module; also those that are cases of a class."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(
    "url",
    [
        "filesystem:///etc/passwd",
        "FileSystem:///etc/passwd",
        "file+http:///etc/passwd",
        "local:/etc/passwd",
        " file:///etc/passwd",
        "/etc/passwd",
        "\tfile:/etc/passwd",
    ],
)
def test_file_has_no_other_name(deployment: Deployment, url: str) -> None:
    """CVE-2015-1195: filesystem: was a second name of file:, and was not checked."""
    deployment.record("i", location=url)
    response = get(deployment.api(), "/v1/images/i")
    assert response.status_code == 500
    assert "root:" not in response.text


@pytest.mark.usefixtures("settled")
def test_id_that_is_used_again(deployment: Deployment, api: imageapi.ImageAPI) -> None:
    """OSSN-0075: no cache of a deleted image is used for a new image with its id."""
    owner = Caller(user_id="u", project_id="p1")

    def ask(caller: Caller) -> webob.Response:
        request = webob.Request.blank("/v1/images/i")
        request.environ["imageapi.caller"] = caller
        return request.send(api)

    deployment.add("i", b"first", is_public=False, owner="p1", name="mine")
    assert ask(owner).body == b"first"
    deployment.record_path("i").unlink()
    assert ask(owner).status_code == 404
    deployment.add("i", b"other", is_public=False, owner="p2", name="theirs")
    assert ask(owner).status_code == 404
    response = ask(Caller(user_id="v", project_id="p2"))
    assert (response.body, response.headers["X-Image-Meta-Name"]) == (b"other", "theirs")


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize(
    "path",
    [
        "/v1/images/i",
        "/v1/images/absent",
        "//evil.example/v1/images/i",
        "/v1/images//evil.example",
        "/v1/images/i/",
        "/v1/images/https:%2f%2fevil.example",
        "/evil.example/%2f..",
    ],
)
def test_no_answer_redirects(
    deployment: Deployment, api: imageapi.ImageAPI, method: str, path: str
) -> None:
    """CVE-2024-42353: WebOb makes a Location absolute, and took the host from its path."""
    deployment.add("i", b"data")
    for headers in ({}, {"If-None-Match": "*"}, {"Range": "bytes=9-"}, {"Host": "evil.example"}):
        request = webob.Request.blank("/", method=method, headers=headers)
        request.environ["PATH_INFO"] = path.replace("%2f", "/")
        response = request.send(api)
        assert response.status_code not in (301, 302, 303, 307, 308)
        assert "Location" not in response.headers


def test_decision_comes_before_the_status_line(memory: Memory) -> None:
    """LP 1326781: a generator checked the policy only at its first chunk, after a status of 200."""
    memory.put(status="deactivated")
    started: list[str] = []

    def start_response(status: str, headers: object, exc_info: object = None) -> type[bytes]:
        started.append(status)
        return bytes

    environ = webob.Request.blank("/v1/images/i").environ
    body = memory.api(environ, start_response)
    assert started == ["403 Forbidden"]
    assert memory.store.opened == 0
    assert b"deactivated" in b"".join(body)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("range_header", ["", "bytes=0-1"])
def test_policy_is_asked_on_every_path(tmp_path: Path, method: str, range_header: str) -> None:
    """CVE-2013-4428: cached data was served to users who may not download it."""
    memory = Memory(tmp_path, rules='"download_image": "role:reader"')
    image = memory.put(b"data")
    headers = {"If_None_Match": str(image.checksum)}
    if range_header:
        headers = {"Range": range_header, "If_Range": str(image.checksum)}
    reader = Caller(user_id="u", roles=("reader",))
    # From here on everything that can be cached is cached.
    assert memory.get(caller=reader).body == b"data"
    refused = memory.request(method=method, caller=Caller(user_id="v"), **headers)
    assert refused.status_code == (403 if method == "GET" else 200)
    assert b"data" not in b"".join(refused.app_iter)
    memory.api.close()


@pytest.mark.parametrize("end", ["", "x", "0-0"])
def test_range_of_many_parts_is_not_even_read(memory: Memory, end: str) -> None:
    """CVE-2025-62727: merging overlapping ranges took a time that grew with their square."""
    memory.put(b"data")
    response = memory.get(Range="bytes=" + "0-1," * 200_000 + end)
    assert (response.status_code, response.body) == (200, b"data")
    assert memory.store.opened == 1


def test_nothing_relies_on_assert() -> None:
    """OSSN-0048: python -O takes assertions out, and what they guard with them."""
    found = [
        f"{path}:{node.lineno}"
        for path in (ROOT / "imageapi").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Assert)
    ]
    assert found == []


OPTIMISED = """
import sys
import webob
from imageapi import ImageAPI, load_config
api = ImageAPI(load_config(sys.argv[1:]))
for image_id in ("public", "private", "outside", "wrong"):
    print(webob.Request.blank(f"/v1/images/{image_id}").send(api).status_code)
"""


def test_refuses_under_optimisation_too(deployment: Deployment) -> None:
    deployment.add("public", b"data")
    deployment.add("private", b"data", is_public=False)
    deployment.record("outside", location="file:///etc/passwd")
    deployment.add("wrong", b"data", checksum="0" * 32)
    command = [sys.executable, "-O", "-c", OPTIMISED, str(deployment.config_file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["200", "404", "500", "500"]


@pytest.mark.parametrize("value", ["false", "0", ""])
def test_paste_has_no_switch_that_a_text_could_turn_on(value: str) -> None:
    """CVE-2014-7144: insecure = "false" in a paste file was true."""
    with pytest.raises(imageapi.ConfigurationError, match="unknown setting 'insecure'"):
        imageapi.wsgi.app_factory({}, insecure=value)


def test_filter_serves_no_more_than_the_application(deployment: Deployment) -> None:
    """The filter decides as the application does."""
    deployment.add("private", b"data", is_public=False)
    conf = imageapi.load_config([str(deployment.config_file)])
    middleware = ImageAPIMiddleware(lambda environ, start: [b"behind"], conf)
    for method in ("GET", "HEAD"):
        response = webob.Request.blank("/v1/images/private", method=method).send(middleware)
        assert response.status_code == 404
    middleware.close()
