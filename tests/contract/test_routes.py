# SPDX-License-Identifier: Apache-2.0
"""docs/wire.md, Routes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest
import webob
from hypothesis import example, given
from hypothesis import strategies as st

from imageapi import ImageAPIMiddleware, load_config
from imageapi.image import is_image_id
from tests.deployment import Deployment, get
from tests.memory import Memory


def mounted(app: Any, script_name: str, path_info: str, method: str = "GET") -> webob.Response:
    request = webob.Request.blank("/", method=method)
    request.environ["SCRIPT_NAME"] = script_name
    request.environ["PATH_INFO"] = path_info
    response: webob.Response = request.send(app)
    return response


@pytest.mark.wire("routes-paths")
@pytest.mark.parametrize("version", ["v1", "v1.0", "v1.1"])
@pytest.mark.parametrize("mount", ["", "/glance", "/a/b"])
def test_image_is_found_below_any_mount(memory: Memory, version: str, mount: str) -> None:
    memory.put(b"data")
    assert mounted(memory.api, mount, f"/{version}/images/i").body == b"data"


@pytest.mark.wire("routes-paths")
@pytest.mark.parametrize("mount", ["/v1", "/v1.0", "/v1.1", "/glance/v1"])
def test_version_may_be_the_end_of_the_mount(memory: Memory, mount: str) -> None:
    memory.put(b"data")
    assert mounted(memory.api, mount, "/images/i").body == b"data"


@pytest.mark.wire("routes-paths")
@pytest.mark.parametrize("mount", ["", "/glance", "/v2", "/v1/x", "/xv1"])
def test_unversioned_path_is_none_elsewhere(memory: Memory, mount: str) -> None:
    memory.put(b"data")
    assert mounted(memory.api, mount, "/images/i").status_code == 404


@pytest.mark.wire("routes-paths")
@pytest.mark.parametrize(
    ("paths", "status"),
    [
        ({"PATH_INFO": "/v1/images/i"}, 200),
        ({"PATH_INFO": "/images/i"}, 404),
        ({"SCRIPT_NAME": "/v1/images/i"}, 300),
        ({}, 300),
    ],
)
def test_what_is_empty_may_be_missing(memory: Memory, paths: dict[str, str], status: int) -> None:
    """PEP 3333: a server may leave out an environ key whose value is empty."""
    memory.put(b"data")
    request = webob.Request.blank("/")
    for name in ("SCRIPT_NAME", "PATH_INFO", "QUERY_STRING"):
        request.environ.pop(name, None)
    request.environ.update(paths)
    response = request.send(memory.api)
    assert response.status_code == status
    assert (response.body == b"data") == (status == 200)


@pytest.mark.wire("routes-id")
@pytest.mark.parametrize(
    ("image_id", "path"),
    [
        ("71c675ab-d94f-49cd-a114-e12490b328d9", "71c675ab-d94f-49cd-a114-e12490b328d9"),
        ("71c675ab", "%37%31c675ab"),
        ("\u00e9", "%C3%A9"),
        ("a b", "a%20b"),
        ("100%", "100%25"),
        ("\U0001f600", "%F0%9F%98%80"),
        (".", "%2E"),
        ("..", "%2E%2E"),
        ("Detail", "Detail"),
        ("i?format=json", "i%3Fformat=json"),
    ],
)
def test_id_is_one_segment_decoded_as_utf8(memory: Memory, image_id: str, path: str) -> None:
    memory.put(b"data", id=image_id)
    assert memory.get(f"/v1/images/{path}").body == b"data"


@pytest.mark.wire("routes-id")
def test_case_matters(memory: Memory) -> None:
    memory.put(b"data", id="abc")
    assert memory.get("/v1/images/ABC").status_code == 404


@pytest.mark.wire("routes-bad-id")
@pytest.mark.parametrize(
    "path", ["%FF", "%C3", "%00", "a%00b", "a%0Ab", "%7F", "%C2%80", "%C2%9F", "%ED%A0%80"]
)
def test_id_that_is_not_utf8_or_holds_controls(memory: Memory, path: str) -> None:
    assert memory.get(f"/v1/images/{path}").status_code == 404


@pytest.mark.wire("routes-long-id")
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize(
    ("path", "status"),
    [("x" * 255, 200), ("x" * 256, 404), ("%C3%A9" * 127, 200), ("%C3%A9" * 128, 404)],
)
def test_id_of_over_255_bytes(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, method: str, path: str, status: int
) -> None:
    image_id = unquote(path)
    memory.put(b"data", id=image_id)
    assert memory.request(f"/v1/images/{path}", method=method).status_code == (
        405 if status == 200 and method == "POST" else status
    )
    if status == 404:
        monkeypatch.setattr(memory.registry, "get", lambda *_: pytest.fail("the registry is asked"))
        request = webob.Request.blank("/", method=method)
        assert memory.api.respond(request, image_id).status_code == 404


@pytest.mark.wire("routes-segments")
@pytest.mark.parametrize(
    "path", ["/v1/images/i/", "/v1/images/i/x", "/v1/images/i%2Fx", "/v1/images/%2F", "/v1/images/"]
)
def test_trailing_slash_and_further_segments(memory: Memory, path: str) -> None:
    memory.put(b"data")
    assert memory.get(path).status_code == 404


@pytest.mark.wire("routes-else")
@pytest.mark.parametrize(
    "path",
    [
        "/v2/images/i",
        "/v1//images/i",
        "/v1/images/",
        "/v1/images/detail/",
        "/v1/images/detail/members",
        "/v1/images/i/members/",
        "/v1/shared-images",
        "/v1.2/images/i",
        "/versions/",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE"])
def test_any_other_path(memory: Memory, path: str, method: str) -> None:
    memory.put(b"data")
    memory.put(b"data", id="detail")
    assert memory.request(path, method=method).status_code == 404


@pytest.mark.wire("routes-methods")
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "FOO"])
@pytest.mark.parametrize("image_id", ["i", "absent"])
def test_other_methods(memory: Memory, method: str, image_id: str) -> None:
    memory.put(b"data")
    response = memory.request(f"/v1/images/{image_id}", method=method)
    assert response.status_code == 405
    assert response.headers["Allow"] == "GET, HEAD"


@pytest.mark.wire("routes-query")
@pytest.mark.parametrize(
    "query",
    [
        "",
        "foo=bar",
        "format=JSON",
        "Format=json",
        "format=js%6Fn",
        "format=json2",
        "%FF",
        "a=%FF&b",
    ],
)
def test_query_is_ignored(memory: Memory, query: str) -> None:
    memory.put(b"data")
    response = memory.get(f"/v1/images/i?{query}")
    assert (response.status_code, response.body) == (200, b"data")


@pytest.mark.wire("routes-query")
@pytest.mark.parametrize("query", ["format=json", "a=b&format=json", "format=json&format=xml"])
def test_query_that_wants_json(memory: Memory, query: str) -> None:
    memory.put(b"data")
    assert memory.get(f"/v1/images/i?{query}").content_type == "application/json"


@pytest.mark.wire("routes-query")
def test_query_that_cannot_be_decoded_is_ignored_as_a_whole(memory: Memory) -> None:
    memory.put(b"data")
    assert memory.get("/v1/images/i?format=json&x=%FF").body == b"data"


@pytest.fixture
def wrapped(tmp_path: Path) -> Iterator[ImageAPIMiddleware]:
    """The middleware in front of an application that answers 299 with the path that it got."""

    def host(environ: Any, start_response: Any) -> list[bytes]:
        start_response("299 Host", [])
        return [environ["PATH_INFO"].encode("latin-1")]

    config = tmp_path / "filter.conf"
    config.write_text("[imageapi]\nregistry = memory\nstores = memory\npolicy = visible\n")
    middleware = ImageAPIMiddleware(host, load_config([str(config)]))
    yield middleware
    middleware.close()


@pytest.mark.wire("routes-filter")
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/images/i"),
        ("OPTIONS", "/v1/images/i"),
        ("POST", "/v1/images"),
        ("PUT", "/v1/images/i/members"),
        ("GET", "/"),
        ("GET", "/versions"),
        ("GET", "/v1/images/i/"),
        ("GET", "/v1/images/%FF"),
        ("HEAD", "/v2/images/i"),
    ],
)
def test_filter_lets_everything_else_through(
    wrapped: ImageAPIMiddleware, method: str, path: str
) -> None:
    response = webob.Request.blank(path, method=method).send(wrapped)
    assert response.status_code == 299


@pytest.mark.wire("routes-filter")
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_filter_answers_for_every_image(wrapped: ImageAPIMiddleware, method: str) -> None:
    response = webob.Request.blank("/v1/images/absent", method=method).send(wrapped)
    assert response.status_code == 404


@pytest.mark.wire("routes-id")
@pytest.mark.parametrize("image_id", ["", "a/b", "detail", "a\nb", "\ud800"])
def test_respond_knows_what_is_no_id(memory: Memory, image_id: str) -> None:
    response = memory.api.respond(webob.Request.blank("/view"), image_id)
    assert response.status_code == 404


@pytest.mark.wire("routes-id")
@pytest.mark.wire("routes-bad-id")
@given(st.text(st.characters(exclude_categories=[]), min_size=1, max_size=20))
@example(".")
@example("..")
@example("%2F")
@example("detail")
def test_any_id_is_found_or_none(deployments: Deployment, image_id: str) -> None:
    """An id never finds another image, whatever its characters."""
    path = quote(image_id, safe="", errors="surrogatepass").replace(".", "%2E")
    api = deployments.api()
    if is_image_id(image_id):
        deployments.add(image_id, image_id.encode())
        assert get(api, f"/v1/images/{path}").body == image_id.encode()
        deployments.record_path(image_id).unlink()
    # The one text that no image can have, but a list has.
    found = image_id == "detail"
    assert get(api, f"/v1/images/{path}").status_code == (200 if found else 404)


@pytest.mark.wire("routes-bad-id")
@given(st.binary(max_size=20))
def test_any_path_is_answered(deployments: Deployment, octets: bytes) -> None:
    path = "/v1/images/" + octets.decode("latin-1")
    assert mounted(deployments.api(), "", path).status_code == 404


@pytest.fixture(scope="module")
def deployments(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    return Deployment(tmp_path_factory.mktemp("ids") / "deployment")
