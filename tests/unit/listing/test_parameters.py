# SPDX-License-Identifier: Apache-2.0
from datetime import datetime
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from webob import exc

from imageapi.backends.listing import SORT_KEYS, ListQuery
from imageapi.caller import ANONYMOUS, Caller
from imageapi.listing.parameters import Limits, ListParameters, parse_list_parameters

LIMITS = Limits(default=25, largest=1000)
MEMBER = Caller(project_id="p1")
ADMIN = Caller(project_id="p0", is_admin=True)
TIME = datetime(2010, 2, 3, 9, 34, 1)


def parse_query(query: str, caller: Caller = ANONYMOUS, limits: Limits = LIMITS) -> ListParameters:
    return parse_list_parameters(query, caller, limits)


def query_of(query: str, caller: Caller = ANONYMOUS) -> ListQuery:
    return parse_query(query, caller).query


def refusal_of(query: str, caller: Caller = ANONYMOUS) -> str:
    with pytest.raises(exc.HTTPBadRequest) as caught:
        parse_query(query, caller)
    return str(caught.value.detail)


@pytest.mark.parametrize("query", ["", "&", "unknown=1", "Name=x", "deleted=true", "SORT_KEY=x"])
def test_what_is_unknown_is_ignored(query: str) -> None:
    assert parse_query(query) == ListParameters(ListQuery(), None)


@pytest.mark.parametrize("name", ["name", "status", "container_format", "disk_format"])
@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("x", {"x"}),
        ("", {""}),
        ("X", {"X"}),
        ("a b", {"a b"}),
        ("fedora:25", {"fedora:25"}),
        ("neq:x", {"neq:x"}),
        ("eq:x", {"x"}),
        ("eq:", {""}),
        ("eq:in:x", {"in:x"}),
        ("in:a,b", {"a", "b"}),
        ("in:a", {"a"}),
        ("in:", set()),
        ("in:a,,b,", {"a", "", "b"}),
        ('in:"a,b",c', {"a,b", "c"}),
        ('in:""', {""}),
        ("\N{LATIN SMALL LETTER U WITH DIAERESIS}", {"\N{LATIN SMALL LETTER U WITH DIAERESIS}"}),
        ("\N{GRINNING FACE}", {"\N{GRINNING FACE}"}),
        ("a;b&c", {"a;b&c"}),
    ],
)
def test_texts(name: str, text: str, wanted: set[str]) -> None:
    assert query_of(f"{name}={quote(text)}").texts == {name: frozenset(wanted)}


@pytest.mark.parametrize("text", ['in:"a', 'in:a"', 'in:"a"b', 'in:a"b"', 'in:"a" ,b'])
def test_quotes_that_do_not_fit(text: str) -> None:
    told = refusal_of(f"name={quote(text)}")
    assert told.startswith('name must be in: and values between commas, such as in:a,"b,c", not ')


def test_plus_is_a_space() -> None:
    assert query_of("name=a+b").texts == {"name": frozenset({"a b"})}


@pytest.mark.parametrize("text", ["0", "512", "%20512%20", "%2B512", "0512", "9" * 40])
@pytest.mark.parametrize("name", ["min_ram", "min_disk", "size_min", "size_max", "limit"])
def test_numbers(name: str, text: str) -> None:
    query = query_of(f"{name}={text}")
    number = int(text.replace("%20", " ").replace("%2B", "+"))
    wanted: dict[str, Any] = {name: number}
    if name in ("min_ram", "min_disk"):
        wanted = {"numbers": {name: number}}
    elif name == "limit":
        wanted = {"limit": min(number, 1000)}
    assert query == ListQuery(**wanted)


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5", "1e3", "0x1", "%D9%A1", "None", "1" * 41])
@pytest.mark.parametrize("name", ["min_ram", "min_disk", "size_min", "size_max", "limit"])
def test_no_numbers(name: str, text: str) -> None:
    assert refusal_of(f"{name}={text}").startswith(f"{name} must be a whole number, 0 or more, not")


@pytest.mark.parametrize(("default", "limit"), [(25, 25), (3000, 1000)])
def test_limit_by_default(default: int, limit: int) -> None:
    assert parse_query("", limits=Limits(default, 1000)).query.limit == limit


@pytest.mark.parametrize(
    ("text", "flag"), [("true", True), ("TRUE", True), ("1", True), ("False", False), ("0", False)]
)
def test_flags(text: str, flag: bool) -> None:
    assert query_of(f"protected={text}") == ListQuery(protected=flag)
    assert query_of(f"is_public={text}", ADMIN).is_public is flag


@pytest.mark.parametrize("text", ["", "yes", "none", "2", "t", "true%20"])
def test_no_flag(text: str) -> None:
    assert refusal_of(f"protected={text}").startswith("protected must be true or false, not ")


@pytest.mark.parametrize("caller", [ANONYMOUS, MEMBER, ADMIN])
def test_is_public_is_checked_for_all_callers(caller: Caller) -> None:
    told = refusal_of("is_public=maybe", caller)
    assert told == "is_public must be true, false or none, not 'maybe'."


@pytest.mark.parametrize("text", ["true", "false", "none", "None"])
def test_is_public_has_an_effect_for_admins_only(text: str) -> None:
    assert query_of(f"is_public={text}", MEMBER) == ListQuery(project_id="p1")
    query = query_of(f"is_public={text}", ADMIN)
    assert query.all_projects
    assert query.is_public is {"true": True, "false": False}.get(text)


def test_admin_asks_for_all_projects_only_by_is_public() -> None:
    assert query_of("", ADMIN) == ListQuery(project_id="p0")


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2010-02-03T09:34:01Z", TIME),
        ("2010-02-03T09:34:01", TIME),
        ("2010-02-03 09:34:01", TIME),
        ("2010-02-03T11:34:01%2B02:00", TIME),
        ("2010-02-03T11:34:01%2B0200", TIME),
        ("2010-02-03T11:34:01%2B02", TIME),
        ("20100203T093401Z", TIME),
        ("2010-02-03T09:34:01.5", TIME.replace(microsecond=500000)),
        ("2010-02-03T09:34:01,5", TIME.replace(microsecond=500000)),
        ("2010-02-03T09:34", TIME.replace(second=0)),
        ("2010-02-03", datetime(2010, 2, 3)),
        ("2010-02", datetime(2010, 2, 1)),
        ("2010", datetime(2010, 1, 1)),
    ],
)
def test_times(text: str, time: datetime) -> None:
    assert query_of(f"changes-since={text}") == ListQuery(changed_after=time)


@pytest.mark.parametrize(
    "text",
    [
        *("", "yesterday", "1265189641", "2010-02-03T24:00:00", "2010-02-03T09:34:60"),
        *("2010-02-03T09:34:01+02:00", "2010-02-30", "0001-01-01T00:00:00%2B02:00"),
        *(
            "9999-12-31T23:59:59-02:00",
            "2010-02-03T09:34:01%2B24:00",
            "2010-02-03T09:34:01%2B99:99",
        ),
        *("2010-02-03T09:34:01z", "2010-02-03t09:34:01Z", "%D9%A2010"),
    ],
)
def test_no_times(text: str) -> None:
    told = refusal_of(f"changes-since={text}")
    assert told.startswith("changes-since must be a time in ISO 8601, such as 2010-02-03T09:34:01Z")


@pytest.mark.parametrize(("caller", "shows"), [(ANONYMOUS, False), (MEMBER, False), (ADMIN, True)])
def test_deleted_images_are_for_admins_who_ask_for_changes(caller: Caller, shows: bool) -> None:
    assert query_of("changes-since=2010", caller).shows_deleted is shows
    assert not query_of("deleted=true", caller).shows_deleted


def test_properties() -> None:
    query = query_of(
        "property-distro=Ubuntu%20%C3%BC&property-=x&property-a-b=&propertyc=y&property-=z"
    )
    assert query == ListQuery(
        properties={"distro": "Ubuntu \N{LATIN SMALL LETTER U WITH DIAERESIS}", "": "z", "a-b": ""}
    )


@pytest.mark.parametrize("key", SORT_KEYS)
@pytest.mark.parametrize(("text", "descending"), [("asc", False), ("desc", True)])
def test_order(key: str, text: str, descending: bool) -> None:
    query = query_of(f"sort_key={key}&sort_dir={text}")
    assert query == ListQuery(sort_key=key, descending=descending)


@pytest.mark.parametrize("text", ["", "Name", "checksum", "name,size", "owner"])
def test_no_sort_key(text: str) -> None:
    wanted = "name, status, container_format, disk_format, size, id, created_at, updated_at"
    assert refusal_of(f"sort_key={text}") == f"sort_key must be one of {wanted}, not {text!r}."


@pytest.mark.parametrize("text", ["", "ASC", "down"])
def test_no_direction(text: str) -> None:
    assert refusal_of(f"sort_dir={text}") == f"sort_dir must be one of asc, desc, not {text!r}."


@pytest.mark.parametrize(
    ("query", "marker"), [("marker=a%2Fb", "a/b"), ("marker=", ""), ("", None)]
)
def test_marker(query: str, marker: str | None) -> None:
    assert parse_query(query).marker == marker


def test_last_of_a_repeated_parameter_counts() -> None:
    query = query_of("size_min=x&name=a&size_min=1;name=b")
    assert query == ListQuery(size_min=1, texts={"name": frozenset({"b"})})


@pytest.mark.parametrize("query", ["name=%FF", "%FF=x", "unknown=%ED%A0%80", "name=a%C3"])
def test_query_that_is_not_utf8(query: str) -> None:
    assert refusal_of(query) == "The query of the URL is not UTF-8."


def test_first_error_is_told() -> None:
    names = ["size_min", "size_max", "min_ram", "min_disk", "protected", "is_public"]
    names += ["changes-since", "limit", "sort_key", "sort_dir"]
    for first, _ in enumerate(names):
        query = "&".join(f"{name}=~" for name in reversed(names[first:]))
        assert refusal_of(query).startswith(f"{names[first]} must be")


def test_long_value_is_cut_in_the_message() -> None:
    assert len(refusal_of(f"size_min={'x' * 5000}")) < 200


@given(
    query=st.text(alphabet=st.sampled_from("aein:=&;%\"',+-017TZ_\u00fc\uff11")),
    admin=st.booleans(),
)
def test_any_query_is_read_or_refused(query: str, admin: bool) -> None:
    for name in ("name", "size_min", "protected", "changes-since", "limit", "property-a"):
        try:
            parse_query(f"{name}={query}", Caller(is_admin=admin))
        except exc.HTTPBadRequest:
            continue
