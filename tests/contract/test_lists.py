# SPDX-License-Identifier: Apache-2.0
"""docs/wire.md, Lists."""

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import webob

from imageapi import Caller
from imageapi.errors import BackendUnavailable
from imageapi.image import Image
from tests.memory import ADMIN, MEMBER, Memory

LISTS = ("/v1/images", "/v1/images/detail", "/v1/shared-images/p1")


def at(minute: int) -> datetime:
    return datetime(2010, 2, 3, 9, minute)


def put_image(memory: Memory, image_id: str, minute: int = 0, **fields: Any) -> Image:
    """Add a public image without data."""
    given = {"created_at": at(minute), "updated_at": at(minute)}
    return memory.put(None, id=image_id, **{**given, **fields})


def ids_listed(memory: Memory, query: str = "", caller: Caller | None = None) -> str:
    """The ids of a list, one after the other."""
    return "".join(listed_images(memory, f"/v1/images?{query}", caller=caller))


def listed_images(memory: Memory, path: str, **given: Any) -> dict[str, dict[str, Any]]:
    """The images of a list by id, in its order."""
    response = memory.get(path, **given)
    assert response.status_code == 200
    return {image["id"]: image for image in response.json["images"]}


def refused_list(memory: Memory, query: str, caller: Caller | None = None) -> str:
    """The text of a 400, in the form that no parser changes."""
    response = memory.get(f"/v1/images?{query}", caller=caller, Accept="text/plain")
    assert response.status_code == 400
    return str(response.text)


def unreachable_registry(*_: object) -> Any:
    raise BackendUnavailable("no connection")


# The documents.


@pytest.mark.wire("lists-brief")
@pytest.mark.parametrize("version", ["v1", "v1.0", "v1.1"])
def test_brief(memory: Memory, version: str) -> None:
    put_image(memory, "i", name="\u00fc", size=5, disk_format="raw", checksum="c" * 32, owner="p1")
    (image,) = listed_images(memory, f"/{version}/images").values()
    assert image == {
        "id": "i",
        "name": "\u00fc",
        "size": 5,
        "disk_format": "raw",
        "container_format": None,
        "checksum": "c" * 32,
    }


@pytest.mark.wire("lists-detail")
@pytest.mark.wire("lists-all-properties")
def test_detail(memory: Memory) -> None:
    later = datetime(2010, 2, 3, 10, 0, 0, 5, tzinfo=timezone(timedelta(hours=1)))
    put_image(
        memory, "i", size=5, updated_at=later, properties={"A b": True, "n": None, "x": "1\n2"}
    )
    (image,) = listed_images(memory, "/v1/images/detail").values()
    assert image == {
        "id": "i",
        "name": None,
        "size": 5,
        "disk_format": None,
        "container_format": None,
        "checksum": None,
        "status": "active",
        "virtual_size": None,
        "created_at": "2010-02-03T09:00:00.000000",
        "updated_at": "2010-02-03T09:00:00.000005",
        "deleted_at": None,
        "deleted": False,
        "is_public": True,
        "protected": False,
        "min_ram": 0,
        "min_disk": 0,
        "owner": None,
        "properties": {"A b": "True", "n": None, "x": "1\n2"},
    }


@pytest.mark.wire("lists-all-properties")
def test_more_properties_than_headers(memory: Memory) -> None:
    many = {f"k{number}": "v" * 9_000 for number in range(80)}
    put_image(memory, "i", properties=many)
    assert listed_images(memory, "/v1/images/detail")["i"]["properties"] == many


@pytest.mark.wire("lists-format-json")
@pytest.mark.parametrize("mount", ["", "/glance", "/glance/v1.1"])
def test_format_json_is_the_document_of_each_image(memory: Memory, mount: str) -> None:
    for image_id in ("a b", "i"):
        put_image(memory, image_id, minute=1, size=5, properties={"n": None, "k": "v"})
    path = "/images/detail" if mount.endswith("v1.1") else "/v1/images/detail"
    request = webob.Request.blank(f"{path}?format=json")
    request.environ["SCRIPT_NAME"] = mount
    documents = json.loads(request.send(memory.api).body)["images"]
    below = mount.removesuffix("/v1.1")
    assert [image["uri"] for image in documents] == [
        f"http://localhost{below}/v1/images/{name}" for name in ("i", "a%20b")
    ]
    one = memory.get("/v1/images/i?format=json").json["images"][0]
    assert {**documents[0], "uri": ""} == {**one, "uri": ""}
    assert (documents[0]["size"], documents[0]["properties"]) == ("5", {"k": "v"})


@pytest.mark.wire("lists-format-json")
def test_format_json_with_a_public_endpoint(tmp_path: Path) -> None:
    memory = Memory(tmp_path, public_endpoint="https://images.example.com/x/")
    put_image(memory, "i")
    (image,) = listed_images(memory, "/v1/images/detail?format=json").values()
    assert image["uri"] == "https://images.example.com/x/v1/images/i"
    assert "uri" not in listed_images(memory, "/v1/images?format=json")["i"]
    memory.api.close()


@pytest.mark.wire("lists-headers")
@pytest.mark.wire("lists-head")
@pytest.mark.parametrize("path", [*LISTS, "/v1/images/i/members", "/v1", "/", "/versions"])
def test_headers_and_head(memory: Memory, path: str) -> None:
    put_image(memory, "i", name="\u00fc", owner="p1", members=frozenset({"p1"}))
    got = memory.request(path, caller=MEMBER)
    body = got.body
    assert got.headers == {"Content-Type": "application/json", "Content-Length": str(len(body))}
    head = memory.head(path, caller=MEMBER)
    assert (head.status, head.headerlist) == (got.status, got.headerlist)
    assert b"\\u00fc" in body or "\u00fc" not in body.decode()
    assert body.isascii()


@pytest.mark.wire("lists-head")
@pytest.mark.parametrize("path", ["/v1/images?limit=x", "/v1/images/absent/members"])
def test_head_of_an_error(memory: Memory, path: str) -> None:
    head, got = memory.head(path), memory.request(path)
    assert head.status == got.status
    assert head.headers == got.headers


@pytest.mark.wire("lists-ignored")
@pytest.mark.parametrize(
    "headers",
    [
        {"Accept": "text/html"},
        {"Range": "bytes=0-1"},
        {"If_None_Match": "*"},
        {"If_Match": '"x"'},
        {"If_Modified_Since": "Wed, 25 Nov 2037 03:29:08 GMT"},
        {"Content_Length": "5"},
    ],
)
def test_headers_without_effect(memory: Memory, headers: dict[str, str]) -> None:
    put_image(memory, "i")
    plain = memory.get("/v1/images")
    given = memory.get("/v1/images", **headers)
    assert (given.status, given.headerlist, given.body) == (
        plain.status,
        plain.headerlist,
        plain.body,
    )


@pytest.mark.wire("lists-long-query")
def test_long_query(memory: Memory) -> None:
    put_image(memory, "i")
    assert ids_listed(memory, f"x={'a' * 100_000}&name=") == ""
    assert ids_listed(memory, f"x={'a' * 100_000}") == "i"


# Parameters.


@pytest.mark.wire("lists-parameters")
@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("name=a+b&min_ram=1", "1"),
        ("name=a+b;min_ram=2", ""),
        ("min_ram=1;name=a+b", "1"),
        ("name=x&name=a%20b", "1"),
        ("limit=x&limit=1", "2"),
        ("NAME=x&foo=1&&=&min_size=9", "21"),
        ("owner=x&id=y&deleted=true", "21"),
        ("name", ""),
    ],
)
def test_parameters(memory: Memory, query: str, ids: str) -> None:
    put_image(memory, "1", minute=1, name="a b", min_ram=1)
    put_image(memory, "2", minute=2)
    assert ids_listed(memory, query) == ids


@pytest.mark.wire("lists-encoding")
@pytest.mark.parametrize("name", ["\u00fc \u65e5\u672c", "\U0001f600", "100%", "a&b;c=d+e"])
def test_text_of_any_characters(memory: Memory, name: str) -> None:
    put_image(memory, "1", name=name, properties={name: name})
    put_image(memory, "2")
    assert ids_listed(memory, f"name={quote(name)}") == "1"
    assert ids_listed(memory, f"property-{quote(name)}={quote(name)}") == "1"


@pytest.mark.wire("lists-encoding")
def test_bytes_that_are_not_percent_encoded(memory: Memory) -> None:
    put_image(memory, "1", name="gr\u00fcn \u65e5")
    request = webob.Request.blank("/v1/images")
    request.environ["QUERY_STRING"] = "name=gr\u00fcn%20\u65e5".encode().decode("latin-1")
    assert [image["id"] for image in json.loads(request.send(memory.api).body)["images"]] == ["1"]


@pytest.mark.wire("lists-encoding")
@pytest.mark.parametrize("query", ["name=%FF", "foo=%FF", "%FF=1", "name=a%C3&x=%BC"])
def test_query_that_is_not_utf8(memory: Memory, query: str) -> None:
    assert "The query of the URL is not UTF-8." in refused_list(memory, query)


BAD = {
    "size_min": ("-1", "1.5", "", "x", "\u0665", "1_0", "9" * 41, "-0"),
    "size_max": ("x",),
    "min_ram": ("x", "-1"),
    "min_disk": ("x", "-1", ""),
    "protected": ("yes", "", "none"),
    "is_public": ("yes", ""),
    "changes-since": ("", "x", "1289432423", "2010-02-03T09:34 02:00", "2010-13-01"),
    "limit": ("-1", "", "x"),
    "sort_key": ("owner", "", "name,id", "NAME"),
    "sort_dir": ("up", "", "DESC"),
    "name": ('in:"a', 'in:a"b"', 'in:"a"b'),
    "marker": ("absent", "", "a/b"),
}


@pytest.mark.wire("lists-bad-value")
@pytest.mark.wire("lists-digits")
@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("path", ["/v1/images", "/v1/images/detail"])
def test_bad_value(memory: Memory, path: str, name: str) -> None:
    for text in BAD[name]:
        response = memory.get(f"{path}?{name}={quote(text)}", Accept="text/plain")
        assert response.status_code == 400
        assert f"{name} must be " in response.text
        assert repr(text)[:100] in response.text


@pytest.mark.wire("lists-bad-value")
def test_first_bad_value_is_named(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if the registry fails: the values are examined before it is queried."""
    monkeypatch.setattr(memory.registry, "list", unreachable_registry)
    monkeypatch.setattr(memory.registry, "get", unreachable_registry)
    names = [name for name in BAD if name != "marker"]
    while names:
        query = "&".join(f"{name}={quote(BAD[name][0])}" for name in reversed(names))
        assert f"{names.pop(0)} must be " in refused_list(memory, query, ADMIN)


@pytest.mark.wire("errors-name-only-the-id")
@pytest.mark.parametrize("accept", ["text/html", "application/json", "text/plain"])
def test_text_of_the_client_is_cut_and_escaped(memory: Memory, accept: str) -> None:
    text = "<b>\r\n" + "x" * 200
    response = memory.get(f"/v1/images?limit={quote(text)}", Accept=accept)
    assert "x" * 100 not in response.text
    assert "\r\n" not in response.text
    if accept == "text/html":
        assert "<b>" not in response.text


@pytest.mark.wire("lists-texts")
@pytest.mark.parametrize("field", ["name", "container_format", "disk_format"])
@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("raw", "1"),
        ("RAW", ""),
        ("ra", ""),
        ("eq:raw", "1"),
        ("fedora:25", "2"),
        ("eq:fedora:25", "2"),
        ("neq:raw", ""),
        ("", "3"),
    ],
)
def test_texts(memory: Memory, field: str, text: str, ids: str) -> None:
    for image_id, value in (("1", "raw"), ("2", "fedora:25"), ("3", ""), ("4", None)):
        memory.put(None, id=image_id, **{field: value})
    assert ids_listed(memory, f"{field}={text}") == ids


@pytest.mark.wire("lists-texts")
@pytest.mark.wire("lists-text-in")
def test_status(memory: Memory) -> None:
    put_image(memory, "1", 1)
    put_image(memory, "2", 2, status="queued")
    put_image(memory, "3", 3, status="saving")
    assert ids_listed(memory, "status=queued") == "2"
    assert ids_listed(memory, "status=in:active,saving") == "31"


@pytest.mark.wire("lists-text-in")
@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("in:a,b", "12"),
        ('in:a,"b,c"', "13"),
        (r'in:"q\"\\,",b', "24"),
        ("in:", ""),
        ("in:,a", "15"),
        ("in:a,", "1"),
        ('in:""', "5"),
        ("in:A", ""),
    ],
)
def test_one_of_several_texts(memory: Memory, text: str, ids: str) -> None:
    for number, name in enumerate(["a", "b", "b,c", 'q"\\,', ""], 1):
        put_image(memory, str(number), name=name)
    assert ids_listed(memory, f"name={quote(text)}&sort_key=id&sort_dir=asc") == ids


@pytest.mark.wire("lists-min")
@pytest.mark.wire("lists-digits")
@pytest.mark.parametrize("name", ["min_ram", "min_disk"])
@pytest.mark.parametrize(("text", "ids"), [("0", "1"), ("5", "2"), ("%20%2B05%20", "2"), ("6", "")])
def test_min(memory: Memory, name: str, text: str, ids: str) -> None:
    put_image(memory, "1")
    put_image(memory, "2", **{name: 5})
    assert ids_listed(memory, f"{name}={text}") == ids


@pytest.mark.wire("lists-sizes")
@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("size_min=0", "123"),
        ("size_min=1", "23"),
        ("size_max=1", "12"),
        ("size_min=1&size_max=1", "2"),
        ("size_min=2&size_max=1", ""),
        (f"size_max={2**64}", "123"),
        (f"size_min={2**64}", ""),
    ],
)
def test_sizes(memory: Memory, query: str, ids: str) -> None:
    for image_id, size in (("1", 0), ("2", 1), ("3", 2), ("4", None)):
        put_image(memory, image_id, size=size)
    assert ids_listed(memory, f"{query}&sort_key=id&sort_dir=asc") == ids


@pytest.mark.wire("lists-protected")
@pytest.mark.parametrize(
    ("text", "ids"), [("true", "1"), ("TRUE", "1"), ("1", "1"), ("False", "2"), ("0", "2")]
)
def test_protected(memory: Memory, text: str, ids: str) -> None:
    put_image(memory, "1", protected=True)
    put_image(memory, "2")
    assert ids_listed(memory, f"protected={text}") == ids


@pytest.mark.wire("lists-changes-since")
@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("2010-02-03T09:01:00Z", "32"),
        ("2010-02-03T09:01:00.000001Z", "32"),
        ("2010-02-03T09:02:00", "3"),
        ("2010-02-03 09:02", "3"),
        ("20100203T090200Z", "3"),
        ("2010-02-03T11:02:00%2B02:00", "3"),
        ("2010-02-03T04:02:00-05", "3"),
        ("2010", "321"),
        ("2011", ""),
    ],
)
def test_changes_since(memory: Memory, text: str, ids: str) -> None:
    for minute in (1, 2, 3):
        put_image(memory, str(minute), minute, updated_at=at(minute).replace(tzinfo=UTC))
    put_image(memory, "4", updated_at=None)
    assert ids_listed(memory, f"changes-since={text}") == ids


@pytest.mark.wire("lists-changes-since")
@pytest.mark.parametrize("text", ["0001-01-01T00:00:00%2B02:00", "9999-12-31T23:59:59-02:00"])
def test_time_that_no_year_has(memory: Memory, text: str) -> None:
    assert "changes-since must be a time" in refused_list(memory, f"changes-since={text}")


@pytest.mark.wire("lists-properties")
@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("property-os=linux", "1"),
        ("property-os=Linux", ""),
        ("property-Os=linux", ""),
        ("property-os=linux&property-arch=x", ""),
        ("property-os=linux&property-arch=y", "1"),
        ("property-n=None", ""),
        ("property-n=", ""),
        ("property-b=True", "2"),
        ("property-=", ""),
        ("os=windows", "21"),
    ],
)
def test_properties(memory: Memory, query: str, ids: str) -> None:
    put_image(memory, "1", 1, properties={"os": "linux", "arch": "y", "n": None})
    put_image(memory, "2", 2, properties={"os": "bsd", "b": True})
    assert ids_listed(memory, query) == ids
