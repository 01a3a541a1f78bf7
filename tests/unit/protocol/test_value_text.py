# SPDX-License-Identifier: Apache-2.0
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from imageapi.protocol.value_text import header_text, in_utc, text_of, without_surrogates


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        ("", ""),
        ("a\n", "a\n"),
        (True, "True"),
        (12, "12"),
        (1e-7, "0.0000001"),
        ({"a": ["\u00e9", None]}, '{"a":["\u00e9",null]}'),
        (datetime(2010, 2, 3, 9, 34, 1, tzinfo=UTC), "2010-02-03T09:34:01.000000"),
    ],
)
def test_text_of_each_type(value: Any, text: str | None) -> None:
    assert text_of(value) == text


def test_times_are_in_utc() -> None:
    naive = datetime(2010, 2, 3, 9, 34, 1)
    assert in_utc(naive) == naive
    east = datetime(2010, 2, 3, 11, 34, 1, tzinfo=timezone(timedelta(hours=2)))
    assert in_utc(east) == naive


def test_lone_surrogates_are_replaced() -> None:
    assert without_surrogates("a\ud800\u00e9\udfff") == "a\ufffd\u00e9\ufffd"


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("plain", "plain"),
        ("a\r\nb\x00\x7f\x9f", "a  b   "),
        ("\u00e9", "\xc3\xa9"),
        ("\ud800", "\xef\xbf\xbd"),
    ],
)
def test_header_text_is_utf8_on_one_line(text: str, sent: str) -> None:
    assert header_text(text) == sent
