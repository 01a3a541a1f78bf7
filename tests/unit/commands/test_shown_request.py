# SPDX-License-Identifier: Apache-2.0
from typing import Any

import pytest

from imageapi import Caller
from imageapi.commands.shown_request import shown_query, shown_range
from imageapi.listing import parameters


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", None),
        ("limit=2&marker=a%20b;sort_key=name", "limit=2&marker=a%20b;sort_key=name"),
        ("format=json", "format=json"),
        ("%6Cimit=2", "%6Cimit=2"),
        ("property-distro=cirros", "property-distro=cirros"),
        ("property-Api_Token=s3cret", "property-Api_Token=***"),
        ("property-ssh%2Dkey=s3cret", "property-ssh%2Dkey=***"),
        ("token=s3cret&limit=2", "***&limit=2"),
        ("limit=2;X-Auth-Token=s3cret", "limit=2;***"),
        ("s3cret", "***"),
        ("s3cret==", "***"),
        ("format=s3cret", "***"),
        ("&&limit", "&&limit"),
        ('name=a" 200 1\n\\\xe9', "name=a%22%20200%201%0A%5C%E9"),
    ],
)
def test_query(query: str, shown: str | None) -> None:
    assert shown_query(query) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None),
        ("bytes=0-4, -5", "bytes=0-4, -5"),
        ('bytes=0-"\n\xe9\x1b', "bytes=0-????"),
        ("bytes=" + "0-0," * 1000, ("bytes=" + "0-0," * 1000)[:200]),
    ],
)
def test_range(value: str | None, shown: str | None) -> None:
    assert shown_range(value) == shown


def test_each_parameter_that_is_read_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    read = set()

    class Recording(dict[str, str]):
        def __contains__(self, name: object) -> bool:
            read.add(name)
            return False

        def get(self, name: str, default: Any = None) -> Any:
            read.add(name)
            return default

    monkeypatch.setattr(parameters, "_parameters", lambda _: Recording())
    parameters.parse_list_parameters("", Caller(is_admin=True), parameters.Limits(25, 1000))
    assert read == parameters.NAMES
