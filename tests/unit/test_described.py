# SPDX-License-Identifier: Apache-2.0
from typing import Any

import pytest

from imageapi import described
from imageapi.described import Descriptions
from imageapi.image import Image, Location
from tests.memory import Memory

LARGE: list[dict[str, Any]] = [
    {"properties": {"key": "x" * 7000}},
    {"properties": {"left out": "x" * 7000}},
    {"name": "x" * 7000},
    {"members": frozenset(f"p{number}" for number in range(70))},
    {"members": frozenset({"x" * 7000})},
    {"locations": tuple(Location(f"memory:{number}") for number in range(14))},
    {"locations": (Location("memory:" + "x" * 3500),)},
    {"locations": (Location("memory:", store="x" * 7000),)},
    {"owner": "\U0001f600" * 1500},
    {"os_hash_algo": "x" * 7000},
    {"properties": {"nested": [[[[[[]]]]]] * 20}},
]


def image(image_id: str, **fields: Any) -> Image:
    return Image(id=image_id, status="active", **fields)


@pytest.fixture
def descriptions(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> Descriptions:
    monkeypatch.setattr(described, "_REMEMBERED_BYTES", 20_000)
    return Descriptions(memory.api.backends.stores, 70)


def test_an_image_is_described_once(descriptions: Descriptions) -> None:
    one = image("i", name="n")
    assert descriptions.of(one) is descriptions.of(one)
    assert descriptions.of(one) is descriptions.of(image("i", name="n"))
    assert descriptions.of(one) is not descriptions.of(image("i", name="m"))


@pytest.mark.parametrize("fields", LARGE)
def test_descriptions_are_remembered_in_bounded_memory(
    descriptions: Descriptions, fields: dict[str, Any]
) -> None:
    """Whatever makes an image large counts: two fit, and further ones push them out."""
    images = [image(f"i{number}", **fields) for number in range(9)]
    before = [descriptions.of(one) for one in images]
    kept = [
        descriptions.of(one) is known for one, known in zip(images[::-1], before[::-1], strict=True)
    ]
    assert 1 <= sum(kept) <= 3


def test_an_image_too_large_to_be_remembered_is_described_all_the_same(
    descriptions: Descriptions,
) -> None:
    one = image("i", name="x" * 30_000)
    assert descriptions.of(one).image is one
    assert descriptions.of(one) is not descriptions.of(one)
