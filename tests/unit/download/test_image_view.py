# SPDX-License-Identifier: Apache-2.0
import weakref
from pathlib import Path
from typing import Any

import pytest

from imageapi.caller import Caller
from imageapi.download import image_view
from imageapi.download.image_view import ImageViews
from imageapi.image import Image, Location
from imageapi.policy.property_protections import ROLES, PropertyProtections, read_sections
from tests.memory import Memory
from tests.property_protections import ALL, protection_file

LARGE: list[dict[str, Any]] = [
    {"properties": {"key": "x" * 7000}},
    {"name": "x" * 7000},
    {"owner": "\U0001f600" * 1500},
    {"locations": tuple(Location(f"memory:{number}") for number in range(24))},
    {"locations": (Location("memory:" + "x" * 6000),)},
    {"locations": (Location("memory:", store="x" * 6000),)},
    {"properties": {"nested": [[[[[[]]]]]] * 400}},
]


def active_image(image_id: str, **fields: Any) -> Image:
    return Image(id=image_id, status="active", **fields)


@pytest.fixture
def views(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> ImageViews:
    monkeypatch.setattr(image_view, "_REMEMBERED_BYTES", 20_000)
    return ImageViews(memory.api.backends.stores, 70)


def test_an_image_is_described_once(views: ImageViews) -> None:
    one = active_image("i", name="n")
    view = views.of(one, ALL)
    assert views.of(one, ALL).headers is view.headers
    assert views.of(one, ALL).locations is view.locations


@pytest.mark.parametrize(
    ("before", "now"),
    [({"min_ram": True, "_is_checked": True}, {"min_ram": 1}), ({"name": "a"}, {"name": "b"})],
)
def test_another_image_is_described_anew(
    views: ImageViews, before: dict[str, Any], now: dict[str, Any]
) -> None:
    """Also one that is equal to it: True == 1, and the target tells of them."""
    views.of(active_image("i", **before), ALL)
    new = active_image("i", **now)
    view = views.of(new, ALL)
    assert view.image is new
    (name,) = now
    assert view.target[name] is now[name]
    assert ("X-Image-Meta-" + name.capitalize(), str(now[name])) in view.headers


def test_what_cannot_be_sent_is_logged_once(
    views: ImageViews, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a\n", "a\n", "b\n", "b\n"):
        views.of(active_image("i", name=name), ALL)
    assert len(caplog.records) == 2


def test_what_is_shown_counts_as_memory(views: ImageViews) -> None:
    """The properties that are too long for headers, too: nothing else counts them."""
    properties = {"os_glance_x": "", "long": "x" * 9_000}
    images = [active_image(f"i{number}", properties=properties) for number in range(9)]
    before = [views.of(one, ALL).image for one in images]
    pairs = zip(images[::-1], before[::-1], strict=True)
    assert sum(views.of(one, ALL).image is shown for one, shown in pairs) == 1


@pytest.mark.parametrize("fields", LARGE)
def test_descriptions_are_remembered_in_bounded_memory(
    views: ImageViews, fields: dict[str, Any]
) -> None:
    """Whatever makes one large counts: two fit, and further ones push them out."""
    images = [active_image(f"i{number}", **fields) for number in range(9)]
    before = [views.of(one, ALL) for one in images]
    kept = [
        views.of(one, ALL).headers is known.headers
        for one, known in zip(images[::-1], before[::-1], strict=True)
    ]
    assert 1 <= sum(kept) <= 3


def test_what_was_logged_is_remembered_in_bounded_memory(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(image_view, "_MOST_NOTED", 3)
    few = ImageViews(memory.api.backends.stores, 70)
    for number in (0, 1, 2, 0, 1, 2):
        few.of(active_image(f"i{number}", name="\n"), ALL)
    assert len(caplog.records) == 3
    few.of(active_image("i3", name="\n"), ALL)
    few.of(active_image("i0", name="\n"), ALL)
    assert len(caplog.records) == 5


def test_an_image_is_not_kept_from_going(views: ImageViews) -> None:
    one = active_image("i")
    gone = weakref.ref(one)
    views.of(one, ALL)
    del one
    assert gone() is None


def test_an_image_too_large_to_be_remembered_is_described_all_the_same(
    views: ImageViews,
) -> None:
    one = active_image("i", locations=(Location("memory:" + "x" * 30_000),))
    assert views.of(one, ALL).image is one
    assert views.of(one, ALL).headers is not views.of(one, ALL).headers


def test_views_of_callers_who_may_read_different_properties(
    views: ImageViews, tmp_path: Path
) -> None:
    """Each is computed once, and keeps the image no more than before."""
    path = protection_file(tmp_path, {"a": "r", "b": "@"})
    protections = PropertyProtections(read_sections(str(path), ROLES))
    all_of_it, part = (
        protections.reader(Caller(roles=roles), lambda rule, caller: False)
        for roles in (("r",), ("s",))
    )
    one = active_image("i", properties={"a": "1", "b": "2"})
    whole, some = views.of(one, all_of_it), views.of(one, part)
    assert whole.image is one
    assert dict(some.image.properties) == {"b": "2"}
    assert [name for name, _ in some.headers if "Property" in name] == ["X-Image-Meta-Property-B"]
    assert (some.target.get("a"), some.target["b"]) == (None, "2")
    assert views.of(one, all_of_it).headers is whole.headers
    assert views.of(one, part).image is some.image
    gone = weakref.ref(one)
    del one, whole
    assert gone() is None
