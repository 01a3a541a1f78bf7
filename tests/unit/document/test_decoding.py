# SPDX-License-Identifier: Apache-2.0
"""test_parsing.py has more of them, as they appear in records."""

import pytest

from imageapi.document.decoding import decoded
from imageapi.errors import MalformedImage


def test_value_of_a_document() -> None:
    data = '{"a": [1, 2.5, null, "\u00fc"]}'.encode("utf-8-sig")
    assert decoded(data) == {"a": [1, 2.5, None, "\u00fc"]}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"{", "not JSON"),
        (b"\xff", "not UTF-8: byte 0xff at offset 0"),
        (b"NaN", "NaN is not a JSON number"),
        (b"1e999", "too large a number"),
        (b"1" * 400, "too large a number"),
        (b"[" * 100_000, "more than 3000 values"),
        (b"[" + b"1," * 5000 + b"1]", "more than 3000 values"),
    ],
)
def test_what_is_no_document(data: bytes, problem: str) -> None:
    with pytest.raises(MalformedImage, match=problem):
        decoded(data)
