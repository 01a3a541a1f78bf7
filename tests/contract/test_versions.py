# SPDX-License-Identifier: Apache-2.0
"""docs/wire.md, Versions, and the methods and paths of all that is not an image."""

from pathlib import Path
from typing import Any

import pytest
import webob

from tests.contract.test_lists import LISTS, put_image, unreachable_registry
from tests.memory import Memory

PATHS = ("/", "/versions", "/v1", "/v1/", "/v1.0", "/v1.0/", "/v1.1", "/v1.1/")


def document(href: str) -> dict[str, Any]:
    links = [{"href": href, "rel": "self"}]
    return {
        "versions": [
            {"id": "v1.1", "status": "SUPPORTED", "links": links},
            {"id": "v1.0", "status": "SUPPORTED", "links": links},
        ]
    }


def versions_asked(memory: Memory, mount: str, path: str, **headers: str) -> webob.Response:
    request = webob.Request.blank("/", headers=headers)
    request.environ.update(SCRIPT_NAME=mount, PATH_INFO=path)
    response: webob.Response = request.send(memory.api)
    return response


@pytest.mark.wire("versions-document")
@pytest.mark.wire("versions-v1")
@pytest.mark.parametrize("path", PATHS)
def test_document(memory: Memory, path: str) -> None:
    response = memory.get(f"{path}?limit=x&y=%FF")
    assert response.status == ("300 Multiple Choices" if path == "/" else "200 OK")
    assert response.content_type == "application/json"
    assert response.json == document("http://localhost/v1/")
    assert "Location" not in response.headers


@pytest.mark.wire("versions-href")
@pytest.mark.wire("routes-paths")
@pytest.mark.parametrize(
    ("mount", "path", "status", "href"),
    [
        ("/glance", "/", 300, "http://localhost/glance/v1/"),
        ("/glance", "", 300, "http://localhost/glance/v1/"),
        ("/glance", "/versions", 200, "http://localhost/glance/v1/"),
        ("/glance", "/v1.1", 200, "http://localhost/glance/v1/"),
        ("/a b/\u00c3\u00bc", "/v1", 200, "http://localhost/a%20b/%C3%BC/v1/"),
        ("/glance/v1", "/", 200, "http://localhost/glance/v1/"),
        ("/v1.0", "", 200, "http://localhost/v1/"),
    ],
)
def test_mount_points(memory: Memory, mount: str, path: str, status: int, href: str) -> None:
    response = versions_asked(memory, mount, path)
    assert response.status_code == status
    assert response.json == document(href)


@pytest.mark.wire("versions-href")
@pytest.mark.parametrize(
    "endpoint", ["https://images.example.com/x", "https://images.example.com/x//"]
)
def test_public_endpoint(tmp_path: Path, endpoint: str) -> None:
    memory = Memory(tmp_path, public_endpoint=endpoint)
    for path in PATHS:
        assert memory.get(path).json == document("https://images.example.com/x/v1/")
    memory.api.close()


@pytest.mark.wire("versions-href")
def test_host_is_that_of_the_request(memory: Memory) -> None:
    forwarded = {"X-Forwarded-Host": "other", "X-Forwarded-Proto": "https"}
    response = versions_asked(memory, "", "/", Host="images.example.com:8080", **forwarded)
    assert response.json == document("http://images.example.com:8080/v1/")
    assert versions_asked(memory, "", "/", Host="h:80").json == document("http://h/v1/")


@pytest.mark.wire("versions-accept")
@pytest.mark.parametrize(
    "accept",
    ["text/html", "application/xml", "application/vnd.openstack.images-v1", "application/x-v2"],
)
def test_accept(memory: Memory, accept: str) -> None:
    put_image(memory, "i")
    for path in PATHS:
        assert memory.get(path, Accept=accept).json == document("http://localhost/v1/")
    assert memory.get("/v1/images", Accept=accept).status_code == 200
    assert memory.get("/images", Accept=accept).status_code == 404


@pytest.mark.wire("versions-open")
@pytest.mark.parametrize("path", PATHS)
def test_depends_on_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    rules = ("get_image", "download_image", "get_images", "get_members")
    memory = Memory(tmp_path, "".join(f'"{rule}": "!"\n' for rule in rules))
    monkeypatch.setattr(memory.registry, "list", unreachable_registry)
    monkeypatch.setattr(memory.registry, "get", unreachable_registry)
    monkeypatch.setattr(memory.registry, "can_list", False)
    assert memory.get(path).json == document("http://localhost/v1/")
    memory.api.close()


@pytest.mark.wire("routes-methods")
@pytest.mark.parametrize(
    "path", [*LISTS, *PATHS, "/v1/images/i/members", "/v1/images/absent/members"]
)
def test_methods(memory: Memory, path: str) -> None:
    put_image(memory, "i")
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "FOO", "get"):
        response = memory.get(path, method=method)
        assert (response.status_code, response.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.wire("routes-else")
@pytest.mark.wire("routes-segments")
@pytest.mark.parametrize(
    "path",
    [
        *("/v1/images/", "/v1/images/detail/", "/v1/images.json", "/v1//images", "//v1/images"),
        *("/v1/versions", "/versions/", "/versions/v1", "/v1//", "//", "/v1/foo", "/V1/images"),
        *("/v1.2/images", "/v2/images", "/v2", "/v10/images", "/images", "/foo", "/v1/Images"),
        *("/v1/images/detail\0", "/v1 /images"),
    ],
)
def test_other_paths(memory: Memory, path: str) -> None:
    for method in ("GET", "HEAD", "POST"):
        request = webob.Request.blank("/", method=method)
        request.environ["PATH_INFO"] = path
        assert request.send(memory.api).status_code == 404


@pytest.mark.wire("routes-paths")
@pytest.mark.parametrize("mount", ["/v1", "/glance/v1.0", "/v1.1"])
def test_lists_where_the_mount_point_is_a_version(memory: Memory, mount: str) -> None:
    put_image(memory, "i")
    for path in ("/images", "/images/detail", "/shared-images/p", "/images/i/members"):
        assert versions_asked(memory, mount, path).status_code == 200
    assert versions_asked(memory, mount, "/v1/images").status_code == 200
    assert versions_asked(memory, mount, "/versions").status_code == 404
