# SPDX-License-Identifier: Apache-2.0
"""docs/wire.md, GET of an image: 200, and HEAD of an image: 200."""

import dataclasses
import hashlib
import logging
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import webob
from hypothesis import given
from hypothesis import strategies as st

from imageapi.image import Image, Location
from imageapi.protocol.image_headers import meta_headers
from tests.deployment import Deployment, close, get
from tests.header_lines import bytes_of_lines
from tests.memory import ADMIN, Memory, blobs_without

FULL: dict[str, Any] = {
    "name": "Ubuntu",
    "disk_format": "vhd",
    "container_format": "ovf",
    "virtual_size": 5,
    "created_at": datetime(2010, 2, 3, 9, 34, 1),
    "updated_at": datetime(2010, 2, 3, 9, 34, 1, 5),
    "protected": True,
    "min_ram": 256,
    "min_disk": 5,
    "owner": "p1",
    "properties": {"distro": "Ubuntu 10.04 LTS", "arch": "x86_64"},
}


def meta(response: webob.Response) -> list[tuple[str, str]]:
    return [pair for pair in response.headerlist if pair[0].startswith("X-Image-Meta")]


def property_lines(**properties: Any) -> list[tuple[str, str]]:
    image = Image(id="i", status="active", properties=properties)
    return [
        (name.removeprefix("X-Image-Meta-Property-"), value)
        for name, value in meta_headers(image, 70).lines
        if "Property" in name
    ]


@pytest.mark.wire("get-content-type")
def test_content_type_has_no_parameter(memory: Memory) -> None:
    memory.put()
    assert memory.get().headers["Content-Type"] == "application/octet-stream"


@pytest.mark.wire("get-content-length")
def test_content_length_counts_the_body(memory: Memory) -> None:
    memory.put(b"12345")
    assert memory.request().headers["Content-Length"] == "5"


@pytest.mark.wire("get-content-length")
def test_content_length_is_the_stores_where_the_record_has_no_size(memory: Memory) -> None:
    memory.put(b"12345", size=None)
    response = memory.request()
    assert response.headers["Content-Length"] == "5"
    assert "X-Image-Meta-Size" not in response.headers
    assert response.body == b"12345"


@pytest.mark.wire("get-content-length")
def test_no_content_length_where_nobody_knows(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.put(b"12345", size=None)
    blobs_without(monkeypatch, memory, "total_size")
    response = memory.request()
    assert "Content-Length" not in response.headers
    assert b"".join(response.app_iter) == b"12345"


@pytest.mark.wire("get-etag")
def test_etag_is_the_bare_checksum(memory: Memory) -> None:
    memory.put(b"12345")
    assert memory.get().headers["Etag"] == hashlib.md5(b"12345").hexdigest()
    memory.put(b"12345", checksum=None)
    assert "Etag" not in memory.get().headers


@pytest.mark.wire("get-accept-ranges")
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_accept_ranges_where_the_store_reads_ranges(
    memory: Memory, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.put()
    assert memory.request(method=method).headers["Accept-Ranges"] == "bytes"
    monkeypatch.setattr(type(memory.store), "ranges", False)
    memory.put(name="a new record")
    assert "Accept-Ranges" not in memory.request(method=method).headers


@pytest.mark.wire("get-accept-ranges")
def test_no_accept_ranges_without_a_store_for_the_record(memory: Memory) -> None:
    memory.put(locations=(Location("rbd://pool/x"),))
    assert "Accept-Ranges" not in memory.head().headers


@pytest.mark.wire("get-uri")
@pytest.mark.parametrize(
    ("image_id", "path"),
    [
        ("a b", "/v1/images/a%20b"),
        ("a b", "/v1.1/images/a%20b?x=y"),
        ("~!$&'()*+,;=:@%", "/v1/images/~!$&'()*+,;=:@%25"),
        ("\u00e9", "/v1/images/%C3%A9"),
        ("100%", "/v1/images/100%25"),
    ],
)
def test_uri_is_the_requests_without_its_query(memory: Memory, image_id: str, path: str) -> None:
    memory.put(id=image_id)
    response = memory.get(path, Host="images.example:8080", X_Forwarded_Host="evil.example")
    uri = "http://images.example:8080" + path.partition("?")[0]
    assert response.headers["X-Image-Meta-Uri"] == uri


@pytest.mark.wire("get-uri")
@pytest.mark.parametrize("slash", ["", "/"])
def test_uri_is_below_the_public_endpoint(tmp_path: Path, slash: str) -> None:
    memory = Memory(tmp_path, public_endpoint=f"https://example.com/X{slash}")
    memory.put(id="a/b".replace("/", "\u00e9 "))
    response = memory.get("/v1.0/images/a%C3%A9%20b")
    uri = "https://example.com/X/v1/images/a%C3%A9%20b"
    assert response.headers["X-Image-Meta-Uri"] == uri


@pytest.mark.wire("get-uri")
@pytest.mark.parametrize(
    ("paths", "uri"),
    [
        ({"SCRIPT_NAME": "/view"}, "/view"),
        ({"PATH_INFO": "/view"}, "/view"),
        ({"SCRIPT_NAME": "/a", "PATH_INFO": "/b"}, "/a/b"),
        ({"PATH_INFO": "/\u0100"}, "/%3F"),  # no WSGI server sends it, but a request is answered
    ],
)
def test_uri_is_that_of_any_view(memory: Memory, paths: dict[str, str], uri: str) -> None:
    memory.put()
    request = webob.Request.blank("/")
    del request.environ["SCRIPT_NAME"], request.environ["PATH_INFO"]
    request.environ.update(paths)
    response = memory.api.respond(request, "i")
    assert response.headers["X-Image-Meta-Uri"] == f"http://localhost{uri}"
    close(response)


@pytest.mark.wire("get-uri")
def test_uri_cannot_be_used_to_split_the_answer(memory: Memory) -> None:
    memory.put()
    request = webob.Request.blank("/v1/images/i")
    request.environ["HTTP_HOST"] = "a\r\nX-Injected: 1"
    assert request.send(memory.api).headers["X-Image-Meta-Uri"].startswith("http://a  X-Inj")


@pytest.mark.wire("get-fields")
@pytest.mark.wire("get-properties")
@pytest.mark.wire("get-spelling")
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_fields_and_properties_in_their_order_and_spelling(memory: Memory, method: str) -> None:
    memory.put(b"12345", **FULL)
    assert meta(memory.request(method=method)) == [
        ("X-Image-Meta-Uri", "http://localhost/v1/images/i"),
        ("X-Image-Meta-Id", "i"),
        ("X-Image-Meta-Name", "Ubuntu"),
        ("X-Image-Meta-Disk_format", "vhd"),
        ("X-Image-Meta-Container_format", "ovf"),
        ("X-Image-Meta-Size", "5"),
        ("X-Image-Meta-Virtual_size", "5"),
        ("X-Image-Meta-Checksum", "827ccb0eea8a706c4c34a16891f84e7b"),
        ("X-Image-Meta-Created_at", "2010-02-03T09:34:01.000000"),
        ("X-Image-Meta-Updated_at", "2010-02-03T09:34:01.000005"),
        ("X-Image-Meta-Status", "active"),
        ("X-Image-Meta-Is_public", "True"),
        ("X-Image-Meta-Protected", "True"),
        ("X-Image-Meta-Deleted", "False"),
        ("X-Image-Meta-Min_ram", "256"),
        ("X-Image-Meta-Min_disk", "5"),
        ("X-Image-Meta-Owner", "p1"),
        ("X-Image-Meta-Property-Arch", "x86_64"),
        ("X-Image-Meta-Property-Distro", "Ubuntu 10.04 LTS"),
    ]


@pytest.mark.wire("get-spelling")
def test_spelling_of_the_other_headers(memory: Memory) -> None:
    memory.put(b"12345")
    others = ["Content-Type", "Content-Length", "Etag", "Accept-Ranges"]
    given: list[tuple[dict[str, Any], list[str]]] = [
        ({}, others),
        ({"method": "HEAD"}, others),
        ({"Range": "bytes=0-1"}, [*others, "Content-Range"]),
        ({"path": "/v1/images/i?format=json"}, ["Content-Type", "Content-Length"]),
    ]
    for request, names in given:
        response = memory.request(**request)
        sent = [name for name, _ in response.headerlist if not name.startswith("X-Image-Meta")]
        assert sent == names
        close(response)


@pytest.mark.wire("get-fields")
def test_deleted_at_stands_after_updated_at(memory: Memory) -> None:
    deleted_at = datetime(2010, 2, 4, tzinfo=timezone(timedelta(hours=2)))
    memory.put(status="deleted", updated_at=datetime(2010, 1, 1), deleted_at=deleted_at)
    names = [name.removeprefix("X-Image-Meta-") for name, _ in meta(memory.head(caller=ADMIN))]
    assert names.index("Deleted_at") == names.index("Updated_at") + 1
    response = memory.head(caller=ADMIN)
    assert response.headers["X-Image-Meta-Deleted_at"] == "2010-02-03T22:00:00.000000"


@pytest.mark.wire("get-no-location")
@pytest.mark.parametrize("suffix", ["", "?format=json"])
def test_location_members_and_hashes_are_never_sent(memory: Memory, suffix: str) -> None:
    secret = "memory:i"
    memory.put(
        b"x",
        locations=(Location(secret),),
        members=frozenset({"a-member"}),
        os_hash_algo="sha256",
        os_hash_value=hashlib.sha256(b"x").hexdigest(),
    )
    response = memory.get(f"/v1/images/i{suffix}")
    told = f"{response.headerlist} {response.body!r}"
    assert response.status_code == 200
    assert secret not in told
    assert "a-member" not in told
    assert "os_hash" not in told.lower()


@pytest.mark.wire("get-text")
def test_text_of_values() -> None:
    image = Image(
        id="i",
        status="active",
        name="\u00dcbuntu \u65e5\u672c",
        size=0,
        created_at=datetime(2010, 2, 3, 11, 34, 1, tzinfo=timezone(timedelta(hours=2))),
        updated_at=datetime(2010, 2, 3, 9, 34, 1, tzinfo=UTC),
    )
    lines = dict(meta_headers(image, 70).lines)
    assert lines["X-Image-Meta-Name"].encode("latin-1").decode() == "\u00dcbuntu \u65e5\u672c"
    assert lines["X-Image-Meta-Size"] == "0"
    assert lines["X-Image-Meta-Created_at"] == "2010-02-03T09:34:01.000000"
    assert lines["X-Image-Meta-Updated_at"] == "2010-02-03T09:34:01.000000"
    assert lines["X-Image-Meta-Is_public"] == "False"
    assert "X-Image-Meta-Owner" not in lines


@pytest.mark.wire("get-property-values")
@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a  b", "a  b"),
        ("", ""),
        (True, "True"),
        (False, "False"),
        (12, "12"),
        (-1, "-1"),
        (1.5, "1.5"),
        (1e22, "10000000000000000000000"),
        (1e-7, "0.0000001"),
        (["a", 1, None], '["a",1,null]'),
        ({"a": {"b": True}}, '{"a":{"b":true}}'),
    ],
)
def test_text_of_property_values(value: Any, text: str) -> None:
    assert property_lines(key=value) == [("Key", text)]


@pytest.mark.wire("get-property-values")
def test_property_without_a_value_is_not_sent() -> None:
    assert property_lines(key=None) == []
    assert property_lines(a=None, b="x") == [("B", "x")]


@pytest.mark.wire("get-properties")
@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("kernel_id", "Kernel_id"),
        ("dash-name", "Dash-Name"),
        ("MixedCase", "Mixedcase"),
        ("a.b", "A.b"),
        ("-", "-"),
        ("!#$%&'*+.^_`|~09", "!#$%&'*+.^_`|~09"),
        ("azAZ", "Azaz"),
    ],
)
def test_spelling_of_property_names(key: str, name: str) -> None:
    assert property_lines(**{key: "x"}) == [(name, "x")]


@pytest.mark.wire("get-properties")
def test_properties_go_in_the_order_of_lower_cased_keys() -> None:
    assert property_lines(b="1", A="2", c="3", B="4") == [("A", "2"), ("B", "4"), ("C", "3")]
    # The underscore stands between the capitals and the others.
    assert property_lines(aB="1", a_="2") == [("A_", "2"), ("Ab", "1")]


@pytest.mark.wire("get-clean")
@pytest.mark.parametrize("control", ["\0", "\t", "\n", "\r", "\x1f", "\x7f", "\x80", "\x9f"])
def test_control_character_becomes_a_space(control: str) -> None:
    assert property_lines(key=f"a{control}b") == [("Key", "a b")]


@pytest.mark.wire("get-clean")
def test_what_utf8_cannot_carry_becomes_a_replacement_character() -> None:
    ((_, value),) = property_lines(key="a\ud800b")
    assert value.encode("latin-1").decode() == "a\ufffdb"


@pytest.mark.wire("get-clean")
@given(st.text(st.characters(exclude_categories=[])), st.dictionaries(st.text(), st.text()))
def test_no_text_can_break_its_line(name: str, properties: dict[str, str]) -> None:
    image = Image(id="i", status="active", name=name, properties=properties)
    lines = meta_headers(image, 70).lines
    for header, value in lines:
        assert header.isascii()
        assert " " not in header
        octets = value.encode("latin-1")
        assert not any(octet < 32 or octet == 127 for octet in octets)
        assert not any("\x80" <= character <= "\x9f" for character in octets.decode())
    assert len({header.lower() for header, _ in lines}) == len(lines)


@pytest.mark.wire("get-left-out")
@pytest.mark.parametrize("key", ["", "a b", "a:b", "\u00e9", "a\n", "\u212a", "a/b", "(x)"])
def test_property_whose_key_is_no_token_is_left_out(key: str) -> None:
    assert property_lines(**{key: "x", "ok": "y"}) == [("Ok", "y")]


@pytest.mark.wire("get-left-out")
def test_property_that_is_too_long_is_left_out() -> None:
    assert property_lines(fits="x" * 8000, not_="x" * 8001) == [("Fits", "x" * 8000)]
    assert property_lines(fits="\u00e9" * 4000, not_="\u00e9" * 4001)[0][0] == "Fits"
    assert len(property_lines(fits="\u00e9" * 4000, not_="\u00e9" * 4001)) == 1


@pytest.mark.wire("get-left-out")
@pytest.mark.parametrize("field", ["name", "disk_format", "container_format", "owner"])
def test_field_that_is_too_long_is_left_out(memory: Memory, field: str) -> None:
    name = f"X-Image-Meta-{field.capitalize()}"
    fields: dict[str, Any]
    for text, length in [("x" * 8000, 8000), ("\u00e9" * 4000, 8000), ("x" * 8001, None)]:
        fields = {field: text}
        memory.put(b"data", **fields)
        response = memory.get()
        assert (response.status_code, response.body) == (200, b"data")
        sent = response.headers.get(name)
        assert (None if sent is None else len(sent)) == length
    fields = {field: "\u00e9" * 4001}
    memory.put(**fields)
    assert name not in memory.get().headers
    details = memory.get("/v1/images/i?format=json").json["images"][0]
    assert details[field] == "\u00e9" * 4001


@pytest.mark.wire("get-left-out")
def test_property_whose_key_is_too_long_is_left_out() -> None:
    assert property_lines(**{"k" * 255: "x", "l" * 256: "y"}) == [("K" + "k" * 254, "x")]


@pytest.mark.wire("get-left-out")
def test_of_keys_that_differ_by_case_the_first_by_code_point_is_sent() -> None:
    assert property_lines(key="lower", Key="title", KEY="upper") == [("Key", "upper")]
    assert property_lines(key="lower", KEY="x" * 8001) == []


@pytest.mark.wire("get-left-out")
def test_only_so_many_properties_are_sent(tmp_path: Path) -> None:
    memory = Memory(tmp_path, max_property_headers=3)
    memory.put(properties={f"key{number}": "x" for number in range(9)})
    names = [name for name, _ in meta(memory.get()) if "Property" in name]
    assert names == [f"X-Image-Meta-Property-Key{number}" for number in range(3)]


@pytest.mark.wire("get-left-out")
def test_default_is_70_properties(memory: Memory) -> None:
    memory.put(properties={f"key{number:03}": "x" for number in range(100)})
    assert sum("Property" in name for name, _ in meta(memory.get())) == 70


@pytest.mark.wire("get-left-out")
def test_property_that_does_not_fit_beside_the_others_is_left_out() -> None:
    """The headers of an image have at most 49,152 bytes, and those that fit are sent."""
    image = Image(id="i", status="active", name="\u00e9", properties={"a": ""})
    room = 49_152 - bytes_of_lines(meta_headers(image, 70).lines)
    name = len("X-Image-Meta-Property-A: \r\n")
    values = dict.fromkeys("abcdef", "\u00e9" * 3500)
    last = room - 6 * (name + 7000)
    for more, sent in ((0, "ABCDEFG"), (1, "ABCDEF")):
        properties = {**values, "g": "x" * (last + more)}
        headers = meta_headers(dataclasses.replace(image, properties=properties), 70)
        assert "".join(line[0][-1] for line in headers.lines if "Property" in line[0]) == sent
        assert (bytes_of_lines(headers.lines) == 49_152) == (not more)
    reason = "with it, the X-Image-Meta headers would have more than 49152 bytes"
    assert headers.notes == (f"property 'g' is not sent: {reason}",)
    properties["h"] = "x\n"
    headers = meta_headers(dataclasses.replace(image, properties=properties), 70)
    assert headers.lines[-1] == ("X-Image-Meta-Property-H", "x ")
    assert len(headers.notes) == 2


@pytest.mark.wire("get-left-out")
def test_one_property_without_room_takes_none_of_the_number(tmp_path: Path) -> None:
    memory = Memory(tmp_path, max_property_headers=7)
    memory.put(properties={f"k{number}": "x" * 8000 for number in range(9)} | {"z": "x"})
    names = [name[-2:] for name, _ in meta(memory.get()) if "Property" in name]
    assert names == ["K0", "K1", "K2", "K3", "K4", "K5", "-Z"]
    document = memory.get("/v1/images/i?format=json").json["images"][0]
    assert len(document["properties"]) == 10


@pytest.mark.wire("get-left-out")
def test_longest_fields_all_fit() -> None:
    time = datetime(2010, 2, 3, 9, 34, 1, tzinfo=UTC)
    fields: dict[str, Any] = {"id": "i" * 255, "status": "pending_delete", "checksum": "0" * 32}
    fields |= dict.fromkeys(("name", "disk_format", "container_format", "owner"), "x" * 8000)
    fields |= dict.fromkeys(("size", "virtual_size", "min_ram", "min_disk"), 1 << 62)
    fields |= dict.fromkeys(("created_at", "updated_at", "deleted_at"), time)
    headers = meta_headers(Image(**fields), 70)
    assert (len(headers.lines), headers.notes) == (17, ())


@pytest.mark.wire("get-left-out")
@pytest.mark.parametrize(
    "properties",
    [{"a b": "x"}, {"a": "x" * 9000}, {"a": "x", "A": "y"}, {"a": "x\n"}, {"a": "\ud800"}],
)
def test_it_is_logged_once_an_image_and_version(
    memory: Memory, properties: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    memory.put(properties=properties)
    for _ in range(3):
        assert memory.get().status_code == 200
    assert len(caplog.records) == 1
    assert caplog.records[0].levelno == logging.WARNING
    memory.put(properties=properties, name="a new version")
    memory.get()
    assert len(caplog.records) == 2


@pytest.mark.wire("get-left-out")
def test_ten_notes_are_logged_and_the_rest_counted(
    memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    """Any caller who may see an image causes log lines, so their number is limited."""
    memory.put(properties={f"{'k' * 300}{number:04} ": "x\n" * 1000 for number in range(2900)})
    memory.get()
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 11
    assert lines[-1] == "image 'i': further problems that are not listed: 2890"
    assert max(map(len, lines)) < 500


@pytest.mark.wire("get-left-out")
@pytest.mark.parametrize("count", [9, 10, 11])
def test_no_note_is_lost(count: int) -> None:
    image = Image(id="i", status="active", properties={f"k {n}": "" for n in range(count)})
    notes = meta_headers(image, 70).notes
    assert len(notes) == count
    assert ("further problems that are not listed: 1" in notes) == (count == 11)


@pytest.mark.wire("get-left-out")
def test_notes_are_not_written_again_when_the_record_is_read_again(
    deployment: Deployment, settled: None, caplog: pytest.LogCaptureFixture
) -> None:
    """A client asks again and again for more records than are remembered."""
    large = {f"k{number:02}": "x" * 600 for number in range(69)}
    for number in range(140):
        deployment.record(f"i{number}", name="\n", properties=large)
    api = deployment.api()
    for _ in range(3):
        for number in range(140):
            get(api, f"/v1/images/i{number}", method="HEAD")
    assert len(caplog.records) == 140
    caplog.clear()
    deployment.record("i0", name="\n", properties={**large, "new": "x"})
    get(api, "/v1/images/i0", method="HEAD")
    assert len(caplog.records) == 1


@pytest.mark.wire("get-left-out")
@pytest.mark.parametrize(
    ("fields", "note"),
    [
        ({"name": "a\n"}, "X-Image-Meta-Name: control characters are sent as spaces"),
        (
            {"name": "a\ud800"},
            "X-Image-Meta-Name: lone surrogates, which UTF-8 cannot encode, are sent as U+FFFD",
        ),
        (
            {"properties": {"k": "a\n"}},
            "X-Image-Meta-Property-K: control characters are sent as spaces",
        ),
        (
            {"properties": {"a b": "x"}},
            "property 'a b' is not sent: its key is not an HTTP token (RFC 9110, 5.6.2)",
        ),
        (  # whose capitals are those of the key before it
            {"properties": {"ss": "x", "\u00df": "x"}},
            "property '\u00df' is not sent: its key is not an HTTP token (RFC 9110, 5.6.2)",
        ),
        (
            {"properties": {"k": "x" * 8001}},
            "property 'k' is not sent: its value has more than 8000 bytes",
        ),
        (
            {"name": "x" * 8001},
            "X-Image-Meta-Name is not sent: its value has more than 8000 bytes",
        ),
        (
            {"properties": {"k" * 256: "x"}},
            f"property '{'k' * 99} is not sent: its key has more than 255 characters",
        ),
        (
            {"properties": {"k": "x", "K": "y"}},
            "property 'k' is not sent: it differs from another key only by case",
        ),
        (
            {"properties": {"a": "x", "b": "x", "c": "x"}},
            "property 'c' is not sent: only max_property_headers = 2 properties are sent",
        ),
    ],
)
def test_what_is_cleaned_or_left_out_is_named(fields: dict[str, Any], note: str) -> None:
    assert meta_headers(Image(id="i", status="active", **fields), 2).notes == (note,)


@pytest.mark.wire("get-left-out")
def test_what_goes_as_it_is_is_not_noted() -> None:
    image = Image(id="i", status="active", name="\u00dcbuntu", properties={"k": "\u00e9"})
    assert meta_headers(image, 2).notes == ()


@pytest.mark.wire("get-property-values")
def test_changed_type_of_a_value_is_a_changed_record(memory: Memory) -> None:
    for value, text in ((True, "True"), (1, "1"), (1.0, "1.0"), (True, "True")):
        memory.put(properties={"flag": value})
        assert memory.head().headers["X-Image-Meta-Property-Flag"] == text


@pytest.mark.wire("get-size-on-206")
def test_size_is_the_whole_images_on_206(memory: Memory) -> None:
    memory.put(b"0123456789")
    response = memory.get(Range="bytes=2-3")
    assert response.headers["X-Image-Meta-Size"] == "10"
    assert response.headers["Content-Length"] == "2"


@pytest.mark.wire("head-same")
def test_head_has_the_headers_of_get_and_opens_no_store(memory: Memory) -> None:
    memory.put(b"12345", **FULL)
    head = memory.head().headerlist
    assert memory.store.opened == 0
    assert head == memory.request().headerlist


@pytest.mark.wire("head-same")
def test_head_of_an_unknown_size_has_no_content_length(memory: Memory) -> None:
    memory.put(b"12345", size=None)
    assert "Content-Length" not in memory.head().headers


@pytest.mark.wire("head-not-active")
@pytest.mark.parametrize(
    "fields",
    [{"status": "queued"}, {"status": "deactivated"}, {"status": "active", "deleted": True}],
)
def test_head_promises_no_data_that_is_not_served(memory: Memory, fields: dict[str, Any]) -> None:
    memory.put(b"12345", **fields)
    response = memory.head(caller=ADMIN)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["X-Image-Meta-Size"] == "5"
    for name in ("Content-Length", "Etag", "Accept-Ranges"):
        assert name not in response.headers
