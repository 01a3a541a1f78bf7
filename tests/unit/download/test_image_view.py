# SPDX-License-Identifier: Apache-2.0
import weakref
from typing import Any

import pytest

from imageapi.download import image_view
from imageapi.download.image_view import Descriptions
from imageapi.image import Image, Location
from tests.memory import Memory

LARGE: list[dict[str, Any]] = [
    {"properties": {"key": "x" * 7000}},
    {"name": "x" * 7000},
    {"owner": "\U0001f600" * 1500},
    {"locations": tuple(Location(f"memory:{number}") for number in range(24))},
    {"locations": (Location("memory:" + "x" * 6000),)},
    {"locations": (Location("memory:", store="x" * 6000),)},
    {"properties": {"nested": [[[[[[]]]]]] * 400}},
]


def image(image_id: str, **fields: Any) -> Image:
    return Image(id=image_id, status="active", **fields)


@pytest.fixture
def descriptions(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> Descriptions:
    monkeypatch.setattr(image_view, "_REMEMBERED_BYTES", 20_000)
    return Descriptions(memory.api.backends.stores, 70)


def test_an_image_is_described_once(descriptions: Descriptions) -> None:
    one = image("i", name="n")
    described = descriptions.of(one)
    assert descriptions.of(one).headers is described.headers
    assert descriptions.of(one).places is described.places


@pytest.mark.parametrize(
    ("before", "now"), [({"min_ram": True}, {"min_ram": 1}), ({"name": "a"}, {"name": "b"})]
)
def test_another_image_is_described_anew(
    descriptions: Descriptions, before: dict[str, Any], now: dict[str, Any]
) -> None:
    """Also one that is equal to it: True == 1, and the target tells of them."""
    descriptions.of(image("i", **before))
    new = image("i", **now)
    described = descriptions.of(new)
    assert described.image is new
    (name,) = now
    assert described.target[name] is now[name]
    assert ("X-Image-Meta-" + name.capitalize(), str(now[name])) in described.headers


def test_what_cannot_be_sent_is_logged_once(
    descriptions: Descriptions, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a\n", "a\n", "b\n", "b\n"):
        descriptions.of(image("i", name=name))
    assert len(caplog.records) == 2


@pytest.mark.parametrize("fields", LARGE)
def test_descriptions_are_remembered_in_bounded_memory(
    descriptions: Descriptions, fields: dict[str, Any]
) -> None:
    """Whatever makes one large counts: two fit, and further ones push them out."""
    images = [image(f"i{number}", **fields) for number in range(9)]
    before = [descriptions.of(one) for one in images]
    kept = [
        descriptions.of(one).headers is known.headers
        for one, known in zip(images[::-1], before[::-1], strict=True)
    ]
    assert 1 <= sum(kept) <= 3


def test_what_was_logged_is_remembered_in_bounded_memory(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(image_view, "_MOST_NOTED", 3)
    few = Descriptions(memory.api.backends.stores, 70)
    for number in (0, 1, 2, 0, 1, 2):
        few.of(image(f"i{number}", name="\n"))
    assert len(caplog.records) == 3
    few.of(image("i3", name="\n"))
    few.of(image("i0", name="\n"))
    assert len(caplog.records) == 5


def test_an_image_is_not_kept_from_going(descriptions: Descriptions) -> None:
    one = image("i")
    gone = weakref.ref(one)
    descriptions.of(one)
    del one
    assert gone() is None


def test_an_image_too_large_to_be_remembered_is_described_all_the_same(
    descriptions: Descriptions,
) -> None:
    one = image("i", locations=(Location("memory:" + "x" * 30_000),))
    assert descriptions.of(one).image is one
    assert descriptions.of(one).headers is not descriptions.of(one).headers
