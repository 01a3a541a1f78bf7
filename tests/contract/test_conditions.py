# SPDX-License-Identifier: Apache-2.0
"""docs/wire.md, Conditional and partial requests."""

import hashlib
import time
from pathlib import Path

import pytest

from tests.memory import Memory, NoRangesStore

DATA = b"0123456789"
MD5 = hashlib.md5(DATA).hexdigest()


@pytest.fixture
def ten(memory: Memory) -> Memory:
    memory.put(DATA)
    return memory


MATCHING = [
    MD5,
    f'"{MD5}"',
    f'W/"{MD5}"',
    f'"x", "{MD5}"',
    f"x,{MD5} , y",
    "*",
    " *\t",
    f'"a,b", {MD5}',
    f',,"{MD5}"',
]
NOT_MATCHING = [
    "",
    "x",
    '"x"',
    f'"{MD5}',
    MD5.upper(),
    f"{MD5}x",
    '"*"',
    "X*",
    "\xa0*",
    f'"{MD5}"junk"',
    ",",
]


@pytest.mark.wire("conditions-if-none-match")
@pytest.mark.parametrize("value", MATCHING)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_if_none_match(ten: Memory, value: str, method: str) -> None:
    response = ten.request(method=method, If_None_Match=value)
    assert response.status_code == 304
    assert response.headers["Etag"] == MD5
    assert response.body == b""
    assert ten.store.opened == 0


@pytest.mark.wire("conditions-if-none-match")
@pytest.mark.parametrize("value", NOT_MATCHING)
def test_if_none_match_of_something_else(ten: Memory, value: str) -> None:
    assert ten.get(If_None_Match=value).body == DATA


@pytest.mark.wire("conditions-if-match")
@pytest.mark.parametrize("value", [MD5, f'"{MD5}"', f'"x", "{MD5}"', "*"])
def test_if_match(ten: Memory, value: str) -> None:
    assert ten.get(If_Match=value).body == DATA
    assert ten.head(If_Match=value).status_code == 200


@pytest.mark.wire("conditions-if-match")
@pytest.mark.parametrize("value", [*NOT_MATCHING, f'W/"{MD5}"'])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_if_match_of_something_else(ten: Memory, value: str, method: str) -> None:
    assert ten.request(method=method, If_Match=value).status_code == 412
    assert ten.store.opened == 0


@pytest.mark.wire("conditions-if-match")
@pytest.mark.wire("conditions-if-none-match")
def test_without_a_checksum_only_the_star_matches(memory: Memory) -> None:
    memory.put(DATA, checksum=None)
    assert memory.get(If_None_Match=MD5).status_code == 200
    assert memory.get(If_None_Match="*").status_code == 304
    assert memory.get(If_Match=MD5).status_code == 412
    assert memory.get(If_Match="*").status_code == 200
    assert memory.get(Range="bytes=0-1", If_Range=MD5).status_code == 200


@pytest.mark.wire("conditions-range")
@pytest.mark.parametrize(
    ("value", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=2-5", 2, 6),
        ("bytes=9-9", 9, 10),
        ("bytes=0-", 0, 10),
        ("bytes=3-", 3, 10),
        ("bytes=3-100", 3, 10),
        ("bytes=-1", 9, 10),
        ("bytes=-3", 7, 10),
        ("bytes=-100", 0, 10),
        ("Bytes=0-1", 0, 2),
        ("bytes=00-01", 0, 2),
        (" bytes=0-1\t", 0, 2),
        ("bytes=" + "0" * 248 + "-1", 0, 2),
    ],
)
def test_one_range(ten: Memory, value: str, start: int, stop: int) -> None:
    response = ten.get(Range=value)
    assert response.status == "206 Partial Content"
    assert response.headers["Content-Range"] == f"bytes {start}-{stop - 1}/10"
    assert response.headers["Content-Length"] == str(stop - start)
    assert response.headers["Etag"] == MD5
    assert response.body == DATA[start:stop]


@pytest.mark.wire("conditions-range")
@pytest.mark.parametrize("value", ["bytes=-0", "bytes=10-", "bytes=10-20", f"bytes={10**40}-"])
def test_range_that_cannot_be_satisfied(ten: Memory, value: str) -> None:
    response = ten.get(Range=value)
    assert response.status_code == 416
    assert response.headers["Content-Range"] == "bytes */10"
    assert ten.store.opened == 0


@pytest.mark.wire("conditions-range")
@pytest.mark.parametrize(
    "value",
    [
        "bytes=0-1,5-6",
        "bytes=0-1,",
        "items=0-1",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=abc",
        "bytes=5-2",
        "bytes=5-4",
        "Xbytes=0-1",
        "\xa0bytes=0-1",
        "bytes=1-2junk",
        "bytes=1 -2",
        "bytes=+1-2",
        "bytes=0x1-2",
        "bytes=1_0-",
        "bytes=\u0661-",
        "byte\u017f=0-1",
        "bytes=0-1" + " " * 256,
        "bytes=" + "0" * 249 + "-1",
    ],
)
def test_other_ranges_are_ignored(ten: Memory, value: str) -> None:
    response = ten.get(Range=value)
    assert (response.status_code, response.body) == (200, DATA)


@pytest.mark.wire("conditions-dates")
@pytest.mark.parametrize("name", ["If_Modified_Since", "If_Unmodified_Since"])
@pytest.mark.parametrize("year", [1990, 2038])
def test_dates_are_ignored(ten: Memory, name: str, year: int) -> None:
    response = ten.get(**{name: f"Fri, 01 Jan {year} 00:00:00 GMT"})
    assert response.status_code == 200
    assert "Last-Modified" not in response.headers


@pytest.mark.wire("conditions-if-range")
@pytest.mark.parametrize("value", [MD5, f'"{MD5}"'])
def test_if_range_of_this_version(ten: Memory, value: str) -> None:
    assert ten.get(Range="bytes=2-3", If_Range=value).body == b"23"


@pytest.mark.wire("conditions-if-range")
@pytest.mark.parametrize(
    "value", [f'W/"{MD5}"', '"x"', "Fri, 01 Jan 2038 00:00:00 GMT", f'"{MD5}", "x"', "*", ""]
)
def test_if_range_of_another_version(ten: Memory, value: str) -> None:
    assert ten.get(Range="bytes=2-3", If_Range=value).body == DATA
    assert ten.get(Range="bytes=50-", If_Range=value).status_code == 200


@pytest.mark.wire("conditions-head")
@pytest.mark.parametrize("value", ["bytes=0-1", "bytes=50-"])
def test_range_on_head_is_ignored(ten: Memory, value: str) -> None:
    response = ten.head(Range=value)
    assert (response.status_code, response.headers["Content-Length"]) == (200, "10")
    assert "Content-Range" not in response.headers


@pytest.mark.wire("conditions-no-ranges")
def test_store_that_cannot_read_ranges(ten: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(ten.store), "ranges", False)
    for value in ("bytes=2-3", "bytes=50-"):
        response = ten.get(Range=value)
        assert (response.status_code, response.body) == (200, DATA)
        assert "Content-Range" not in response.headers


@pytest.mark.wire("conditions-no-ranges")
def test_server_that_answers_a_range_with_everything(
    ten: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ten.store, "__class__", NoRangesStore)
    response = ten.get(Range="bytes=2-3")
    assert (response.status_code, response.body) == (200, DATA)
    assert ten.store.open_blobs == 0


@pytest.mark.wire("conditions-range")
def test_range_of_a_record_without_a_size(memory: Memory) -> None:
    memory.put(DATA, size=None)
    response = memory.get(Range="bytes=2-3")
    assert (response.status_code, response.body) == (206, b"23")
    assert response.headers["Content-Range"] == "bytes 2-3/10"
    assert memory.get(Range="bytes=50-").status_code == 416
    assert memory.store.open_blobs == 0


@pytest.mark.wire("conditions-304")
def test_304_has_no_content_headers(ten: Memory) -> None:
    response = ten.get(If_None_Match=MD5)
    assert "Content-Type" not in response.headers
    assert [name for name, _ in ten.request(If_None_Match=MD5).headerlist] == ["Etag"]


@pytest.mark.wire("conditions-authorized")
@pytest.mark.parametrize(
    "headers", [{"If_None_Match": MD5}, {"If_Match": "x"}, {"Range": "bytes=50-"}]
)
def test_authorization_comes_first(tmp_path: Path, headers: dict[str, str]) -> None:
    memory = Memory(tmp_path, rules='"download_image": "!"')
    memory.put(DATA)
    assert memory.get(**headers).status_code == 403
    assert memory.head(**headers).status_code == 200
    memory.put(DATA, is_public=False)
    assert memory.head(**headers).status_code == 404
    memory.put(DATA, status="deactivated")
    assert memory.head(**headers).status_code == 200


@pytest.mark.wire("conditions-order")
def test_if_match_comes_before_if_none_match_and_range(ten: Memory) -> None:
    assert ten.get(If_Match="x", If_None_Match=MD5, Range="bytes=50-").status_code == 412
    assert ten.get(If_Match=MD5, If_None_Match=MD5, Range="bytes=50-").status_code == 304
    assert ten.get(If_Match=MD5, If_None_Match="x", Range="bytes=50-").status_code == 416


@pytest.mark.wire("conditions-if-none-match")
@pytest.mark.parametrize("name", ["If_None_Match", "If_Match", "If_Range"])
@pytest.mark.parametrize("blanks", [" ", "\t", ", ", '" ', "W/ "])
def test_no_header_keeps_the_server_busy(ten: Memory, name: str, blanks: str) -> None:
    """A regular expression that backtracks at each blank would take minutes for these values."""
    started = time.monotonic()
    for end in ("", '"', '"x', "x\x00"):
        ten.head(**{name: "a," + blanks * 100_000 + end, "Range": "bytes=0-1"})
    assert time.monotonic() - started < 20
