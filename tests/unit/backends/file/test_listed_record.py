# SPDX-License-Identifier: Apache-2.0
from datetime import UTC, datetime

import pytest

from imageapi.backends.file.folder import StatSignature
from imageapi.backends.file.listed_record import SharedValues, listed_record, packed
from imageapi.backends.listing import SORT_KEYS, ListQuery
from imageapi.image import Image

IMAGE = Image(
    id="i",
    status="active",
    name="n",
    size=5,
    owner="p",
    created_at=datetime(2020, 1, 2, tzinfo=UTC),
    members=frozenset({"a", "b"}),
    properties={"text": "x", "number": 5, "none": None},
)


@pytest.mark.parametrize("key", SORT_KEYS)
def test_has_the_same_position_as_its_image(key: str) -> None:
    record = listed_record(IMAGE, 1, b"", SharedValues())
    query = ListQuery(sort_key=key)
    assert query.position(record) == query.position(IMAGE)


def test_contains_each_member_and_each_text_of_a_property() -> None:
    record = listed_record(IMAGE, 1, b"", SharedValues())
    assert all(member in record.members for member in IMAGE.members)
    assert "c" not in record.members
    assert ("text", "x") in record.properties
    assert ("number", "5") in record.properties
    assert ("text", "y") not in record.properties
    assert ("none", "None") not in record.properties


def test_too_many_members_are_all_taken_for_possible() -> None:
    many = frozenset(str(number) for number in range(257))
    record = listed_record(Image(id="i", status="active", members=many), 1, b"", SharedValues())
    assert "any other" in record.members


def test_equal_values_are_one_object() -> None:
    shared = SharedValues()
    texts = ["".join(["a", "b"]) for _ in range(2)]
    assert texts[0] is not texts[1]
    assert shared(texts[0]) is shared(texts[1])
    same = [shared.hashes(frozenset({"p"})) for _ in range(2)]
    assert same[0] is same[1]


def test_packed_signatures_differ_if_one_field_does() -> None:
    first = StatSignature(1, 2, 3, 4, 5)
    others = [first._replace(**{name: 9}) for name in StatSignature._fields]
    assert len({packed(one) for one in (first, *others)}) == 6
    assert packed(None) == b""
