# SPDX-License-Identifier: Apache-2.0
"""docs/wire.md, Details as JSON, and Errors."""

import json
import logging
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import webob
from webob import exc

from imageapi.errors import BadReply
from imageapi.image import Location
from tests.deployment import Deployment, get
from tests.memory import ADMIN, Memory

SEED = {
    "uri": "http://glance.example.com/images/71c675ab-d94f-49cd-a114-e12490b328d9",
    "name": "Ubuntu 10.04 Plain 5GB",
    "disk_format": "vhd",
    "container_format": "ovf",
    "size": "5368709120",
    "checksum": "c2e5db72bd7fd153f53ede5da5a06de3",
    "created_at": "2010-02-03 09:34:01",
    "updated_at": "2010-02-03 09:34:01",
    "deleted_at": "",
    "status": "active",
    "is_public": True,
    "min_ram": 256,
    "min_disk": 5,
    "owner": None,
    "properties": {"distro": "Ubuntu 10.04 LTS"},
}
SEED_ID = "71c675ab-d94f-49cd-a114-e12490b328d9"


def details(response: webob.Response) -> dict[str, Any]:
    (image,) = json.loads(response.body)["images"]
    assert isinstance(image, dict)
    return image


@pytest.mark.wire("details-document")
def test_the_seeds_example_comes_back(deployment: Deployment) -> None:
    deployment.record_path(SEED_ID).write_text(json.dumps({"images": [SEED]}))
    response = get(deployment.api(), f"/v1/images/{SEED_ID}?format=json")
    assert response.headers["Content-Type"] == "application/json"
    uri = f"http://localhost/v1/images/{SEED_ID}"
    assert list(details(response).items()) == [*{**SEED, "uri": uri}.items(), ("id", SEED_ID)]


@pytest.mark.wire("details-types")
def test_types(memory: Memory) -> None:
    memory.put(
        size=None,
        deleted_at=datetime(2010, 2, 3, 9, 34, 1, 999999),
        properties={"a": 1, "b": [True], "c": None, "D": "\ud800", "e": False},
    )
    image = details(memory.get("/v1/images/i?format=json"))
    assert image["size"] is None
    assert image["deleted_at"] == "2010-02-03 09:34:01"
    assert image["created_at"] is None
    assert image["properties"] == {"a": "1", "b": "[true]", "D": "\ufffd", "e": "False"}


@pytest.mark.wire("details-decided-as-head")
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 200),
        ({"status": "queued"}, 200),
        ({"status": "deactivated"}, 200),
        ({"is_public": False}, 404),
        ({"deleted": True}, 404),
    ],
)
def test_decided_as_head_is(
    memory: Memory, method: str, fields: dict[str, Any], status: int
) -> None:
    memory.put(**fields)
    response = memory.request("/v1/images/i?format=json", method=method)
    assert response.status_code == status
    assert memory.store.opened == 0


@pytest.mark.wire("details-decided-as-head")
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("image_id", ["i", "absent"])
def test_download_image_is_not_asked(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, method: str, image_id: str
) -> None:
    memory.put()
    asked = []

    def allows(action: str, *about: object) -> bool:
        asked.append(action)
        return True

    monkeypatch.setattr(memory.api.backends.policy.backend, "allows", allows)
    memory.request(f"/v1/images/{image_id}?format=json", method=method)
    assert asked == ["get_image"]


@pytest.mark.wire("details-decided-as-head")
def test_details_of_a_deleted_image_for_an_admin(memory: Memory) -> None:
    memory.put(deleted=True)
    response = memory.get("/v1/images/i?format=json", caller=ADMIN)
    assert response.status_code == 200


@pytest.mark.wire("details-whole")
def test_always_whole_and_without_conditions(memory: Memory) -> None:
    image = memory.put()
    response = memory.get("/v1/images/i?format=json", Range="bytes=0-1", If_None_Match="*")
    assert response.status_code == 200
    assert memory.get("/v1/images/i?format=json", If_Match="x").status_code == 200
    assert "Etag" not in response.headers
    assert details(response)["checksum"] == image.checksum


@pytest.mark.wire("details-whole")
def test_head_has_the_length(memory: Memory) -> None:
    memory.put(name="\u00dcbuntu")
    whole = memory.get("/v1/images/i?format=json")
    head = memory.head("/v1/images/i?format=json")
    assert head.headers["Content-Length"] == str(len(whole.body))
    assert head.headers["Content-Type"] == "application/json"


@pytest.mark.wire("details-accept")
@pytest.mark.parametrize("accept", ["application/json", "text/html", "*/*", "junk;;"])
def test_accept_never_selects_it(memory: Memory, accept: str) -> None:
    memory.put(b"data")
    response = memory.get(Accept=accept)
    assert (response.content_type, response.body) == ("application/octet-stream", b"data")


@pytest.mark.wire("errors-bodies")
@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, "text/plain"),
        ("text/plain", "text/plain"),
        ("application/octet-stream", "text/plain"),
        ("application/json", "application/json"),
        ("text/html", "text/html"),
        ("*/*", "text/html"),
        ("application/json, text/html;q=0.5", "application/json"),
    ],
)
@pytest.mark.parametrize(("image_id", "status"), [("absent", 404), ("deactivated", 403)])
def test_bodies_as_accept_prefers(
    memory: Memory, accept: str | None, content_type: str, image_id: str, status: int
) -> None:
    memory.put(id="deactivated", status="deactivated")
    response = memory.get(f"/v1/images/{image_id}", **({"Accept": accept} if accept else {}))
    assert (response.status_code, response.content_type) == (status, content_type)
    assert image_id in response.text
    if content_type != "application/json":
        assert response.charset == "UTF-8"


@pytest.mark.wire("errors-bodies")
def test_bodies_are_escaped(memory: Memory) -> None:
    response = memory.get("/v1/images/%3Cscript%3E&", Accept="text/html")
    assert "<script>" not in response.text
    assert "&lt;script&gt;&amp;" in response.text
    response = memory.get("/v1/images/%22%5C", Accept="application/json")
    assert 'Image "\\ was' in json.loads(response.body)["message"]


# Each refusal: what asks for it, and what its body says.
REFUSALS: dict[str, tuple[str, dict[str, Any], str, str, str]] = {
    "no path of ours": ("/nothing", {}, "404 Not Found", "The resource could not be found.", ""),
    "absent": (
        "/v1/images/absent",
        {},
        "404 Not Found",
        "The resource could not be found.",
        "Image absent was not found.",
    ),
    "deactivated": (
        "/v1/images/deactivated",
        {},
        "403 Forbidden",
        "Access was denied to this resource.",
        "Image deactivated is deactivated.",
    ),
    "condition": (
        "/v1/images/i",
        {"If_Match": "x"},
        "412 Precondition Failed",
        "Request precondition failed.",
        "Image i does not match If-Match.",
    ),
    "range": (
        "/v1/images/i",
        {"Range": "bytes=9-"},
        "416 Request Range Not Satisfiable",
        "The Range requested is not available.",
        "Image i has 4 bytes, and the range contains none of them.",
    ),
    "failure": (
        "/v1/images/refused",
        {},
        "500 Internal Server Error",
        "The server has either erred or is incapable of performing the requested operation.",
        "Image refused cannot be served. The server's log says why.",
    ),
}

HTML = """<html>
 <head>
  <title>{status}</title>
 </head>
 <body>
  <h1>{status}</h1>
  {text}
 </body>
</html>"""


def refused(memory: Memory, path: str, **given: Any) -> webob.Response:
    memory.put(id="deactivated", status="deactivated")
    memory.put(id="refused", locations=(Location("rbd:x"),))
    memory.put(b"data")
    return memory.get(path, **given)


@pytest.mark.wire("errors-bodies")
@pytest.mark.parametrize("name", REFUSALS)
def test_bodies_to_the_byte(memory: Memory, name: str) -> None:
    path, headers, status, why, what = REFUSALS[name]
    plain = refused(memory, path, **headers)
    assert (plain.status, plain.text) == (status, f"{status}\n\n{why}\n\n {what}  ")
    page = refused(memory, path, Accept="text/html", **headers)
    escaped = what.replace("'", "&#x27;")
    assert page.text == HTML.format(status=status, text=f"{why}<br /><br />\n{escaped}\n\n")
    document = refused(memory, path, Accept="application/json", **headers)
    title = status.partition(" ")[2]
    message = f"{why}<br /><br />\n{what}\n\n"
    expected = json.dumps({"message": message, "code": status, "title": title})
    assert document.body == expected.encode()
    for response, kind in (
        (plain, "text/plain; charset=UTF-8"),
        (page, "text/html; charset=UTF-8"),
        (document, "application/json"),
    ):
        further = {"Content-Range"} if name == "range" else set()
        assert set(response.headers) == {"Content-Length", "Content-Type"} | further
        assert response.headers["Content-Type"] == kind


@pytest.mark.wire("errors-bodies")
def test_bodies_of_a_method_that_is_not_allowed(memory: Memory) -> None:
    status = "405 Method Not Allowed"
    text = "The method POST is not allowed for this resource. "
    plain = memory.get(method="POST")
    assert dict(plain.headers) == {
        "Allow": "GET, HEAD",
        "Content-Length": "77",
        "Content-Type": "text/plain; charset=UTF-8",
    }
    assert plain.text == f"{status}\n\n{text}\n\n "
    page = memory.get(method="POST", Accept="text/html")
    assert page.text == HTML.format(status=status, text=f"{text}<br /><br />\n")
    document = memory.get(method="POST", Accept="application/json")
    assert document.json["message"] == f"{text}<br /><br />\n"


@pytest.mark.wire("errors-bodies")
@pytest.mark.parametrize("accept", ["", "text/html", "application/json"])
def test_bodies_take_no_time_that_a_client_chooses(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, accept: str
) -> None:
    """WebOb's conversion takes time that grows with the square of the number of ``<``."""

    def strip_tags(text: str) -> str:
        pytest.fail("strip_tags is called")

    monkeypatch.setattr(exc, "strip_tags", strip_tags)
    assert "i" * 200 in memory.get(f"/v1/images/{'i' * 200}", Accept=accept).text
    assert memory.get(method="<" * 1000, Accept=accept).status_code == 405


@pytest.mark.wire("errors-bodies")
def test_plain_bodies_show_what_came_as_it_is(memory: Memory) -> None:
    """text/plain has no markup, so nothing that looks like a tag is removed."""
    response = memory.get("/v1/images/%3Cb%3E&%C3%A9%3C!--")
    assert response.headers["Content-Type"] == "text/plain; charset=UTF-8"
    assert "Image <b>&\u00e9<!-- was not found." in response.text
    assert "The method <b> is not" in memory.get(method="<b>").text


@pytest.mark.wire("errors-bodies")
def test_id_is_no_template(memory: Memory) -> None:
    assert "${detail}" in memory.get("/v1/images/$%7Bdetail%7D").text


@pytest.mark.wire("errors-name-only-the-id")
@pytest.mark.parametrize(
    ("image_id", "headers", "status"),
    [
        ("absent", {}, 404),
        ("queued", {}, 404),
        ("deactivated", {}, 403),
        ("hidden", {}, 404),
        ("lost", {}, 404),
        ("refused", {}, 500),
        ("active", {"If_Match": "x"}, 412),
        ("active", {"Range": "bytes=50-"}, 416),
    ],
)
def test_errors_name_the_id(
    memory: Memory, image_id: str, headers: dict[str, str], status: int
) -> None:
    memory.put(id="queued", status="queued")
    memory.put(id="deactivated", status="deactivated")
    memory.put(id="hidden", is_public=False)
    memory.put(None, id="lost")
    memory.put(id="refused", locations=(Location("rbd:x"),))
    memory.put(id="active")
    response = memory.get(f"/v1/images/{image_id}", **headers)
    assert response.status_code == status
    assert f"mage {image_id} " in response.text


@pytest.mark.wire("errors-name-only-the-id")
@pytest.mark.parametrize("action", ["get_image", "download_image"])
@pytest.mark.parametrize("image_id", ["there", "absent"])
def test_refusals_of_the_policy_name_the_id(tmp_path: Path, action: str, image_id: str) -> None:
    memory = Memory(tmp_path, rules=f'"{action}": "!"')
    memory.put(id="there")
    response = memory.get(f"/v1/images/{image_id}")
    assert response.status_code == 403
    assert f"The policy does not allow this for image {image_id}." in response.text


@pytest.mark.wire("errors-name-only-the-id")
def test_errors_of_the_file_backends_tell_no_path(deployment: Deployment) -> None:
    deployment.record("absent", size=4)
    deployment.record("outside", location="file:///etc/passwd", size=4)
    deployment.record_path("malformed").write_text("{")
    deployment.add("another-size", b"data", size=5)
    api = deployment.api()
    for image_id in ("absent", "outside", "malformed", "another-size"):
        response = get(api, f"/v1/images/{image_id}")
        assert response.status_code >= 400
        assert image_id in response.text
        assert str(deployment.folder) not in response.text
        assert "/etc" not in response.text


@pytest.mark.wire("errors-head")
@pytest.mark.parametrize(
    "path", ["/v1/images/absent", "/v1/images/hidden", "/v1/images/i/", "/nothing"]
)
def test_no_body_on_head(memory: Memory, path: str) -> None:
    memory.put(id="hidden", is_public=False)
    response = memory.head(path)
    assert response.status_code == 404
    # The headers of GET (RFC 9110, 9.3.2), WebOb's own HEAD of an error being html.
    assert response.headerlist == memory.request(path).headerlist
    accepting = memory.head(path, Accept="application/json")
    assert accepting.content_type == "application/json"


@pytest.mark.wire("errors-log")
def test_details_go_to_the_log(deployment: Deployment, caplog: pytest.LogCaptureFixture) -> None:
    deployment.record("absent", size=4)
    get(deployment.api(), "/v1/images/absent")
    assert str(deployment.data_path("absent")) in caplog.text


@pytest.mark.wire("errors-log")
@pytest.mark.parametrize("is_allowed", [True, False])
def test_path_in_the_log_stays_on_its_line(
    deployment: Deployment, caplog: pytest.LogCaptureFixture, is_allowed: bool
) -> None:
    """A record's path adds no lines to the log, and no control characters for a terminal."""
    folder = deployment.images if is_allowed else "/etc"
    path = f"{folder}/a%0AERROR%20forged%1B%5B31m%C2%85%FF"
    deployment.record("i", location=f"file://{path}", size=4)
    assert get(deployment.api(), "/v1/images/i").status_code in (404, 500)
    assert "forged" in caplog.text
    assert "\nERROR forged" not in caplog.text
    assert not re.search("[\x1b\x85\udcff]", caplog.text)


@pytest.mark.wire("errors-log")
def test_cause_of_a_break_stays_on_its_line(
    memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    memory.put(b"x" * 3_000_000)
    memory.store.fail(BadReply("a\nERROR forged"), at=2_000_000)
    with pytest.raises(BadReply):
        memory.get()
    assert "broken off" in caplog.text
    assert "\nERROR forged" not in caplog.text


@pytest.mark.wire("errors-log")
def test_id_in_the_log_stays_on_its_line(memory: Memory, caplog: pytest.LogCaptureFixture) -> None:
    memory.put(None, id="a\u2028b")
    memory.get("/v1/images/a%E2%80%A8b")
    assert "\u2028" not in caplog.text


@pytest.mark.wire("errors-log")
def test_caller_that_is_none_goes_to_the_log(
    memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    memory.put(b"data")
    request = webob.Request.blank("/v1/images/i")
    request.environ["imageapi.caller"] = "s3cret"
    assert request.send(memory.api).status_code == 500
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage() == (
        "environ['imageapi.caller'] must be an imageapi.Caller, not str:"
        " correct the application that set it"
    )
