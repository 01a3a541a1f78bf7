# SPDX-License-Identifier: Apache-2.0
"""The notes for the log; tests/contract/test_get.py has the headers themselves."""

from typing import Any

import pytest

from imageapi.image import Image
from imageapi.protocol.image_headers import MetaHeaders, meta_headers


def headers_of(max_properties: int = 70, **fields: Any) -> MetaHeaders:
    return meta_headers(Image(id="i", status="active", **fields), max_properties)


def test_values_that_are_sent_unchanged_have_no_note() -> None:
    headers = headers_of(name="n", properties={"a": "b", "unset": None})
    assert headers.notes == ()
    assert headers.lines[:2] == (("X-Image-Meta-Id", "i"), ("X-Image-Meta-Name", "n"))
    assert headers.lines[-1] == ("X-Image-Meta-Property-A", "b")


@pytest.mark.parametrize(
    ("fields", "note"),
    [
        ({"name": "a\n"}, "X-Image-Meta-Name: control characters are sent as spaces"),
        (
            {"name": "\ud800"},
            "X-Image-Meta-Name: lone surrogates, which UTF-8 cannot encode, are sent as U+FFFD",
        ),
        (
            {"owner": "x" * 8001},
            "X-Image-Meta-Owner is not sent: its value has more than 8000 bytes",
        ),
        (
            {"properties": {"a b": "x"}},
            "property 'a b' is not sent: its key is not an HTTP token (RFC 9110, 5.6.2)",
        ),
        (
            {"properties": {"A": "1", "a": "2"}},
            "property 'a' is not sent: it differs from another key only by case",
        ),
    ],
)
def test_note_names_the_value_and_the_reason(fields: dict[str, Any], note: str) -> None:
    assert headers_of(**fields).notes == (note,)


def test_limit_counts_only_properties_that_are_sent() -> None:
    headers = headers_of(2, properties={"a b": "1", "c": "2", "d": "3", "e": "4"})
    assert headers.lines[-1] == ("X-Image-Meta-Property-D", "3")
    assert headers.notes[-1] == (
        "property 'e' is not sent: only max_property_headers = 2 properties are sent"
    )


def test_notes_after_the_tenth_are_counted() -> None:
    notes = headers_of(0, properties={f"k{number}": "x" for number in range(12)}).notes
    assert len(notes) == 11
    assert notes[-1] == "further problems that are not listed: 2"
