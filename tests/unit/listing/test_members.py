# SPDX-License-Identifier: Apache-2.0
import pytest

from imageapi.caller import ANONYMOUS, Caller
from imageapi.image import Image
from imageapi.listing.members import members_for

SHARED = Image(id="i", status="active", owner="p1", members=frozenset({"p3", "p2"}))


@pytest.mark.parametrize(
    ("caller", "members"),
    [
        (Caller(project_id="p0", is_admin=True), ["p2", "p3"]),
        (Caller(is_admin=True), ["p2", "p3"]),
        (Caller(project_id="p1"), ["p2", "p3"]),
        (Caller(project_id="p3"), ["p3"]),
        (Caller(project_id="p4"), []),
        (Caller(project_id=""), []),
        (ANONYMOUS, []),
    ],
)
def test_who_sees_which_members(caller: Caller, members: list[str]) -> None:
    assert members_for(SHARED, caller) == members


@pytest.mark.parametrize("owner", ["", None])
@pytest.mark.parametrize("project", ["", None])
def test_missing_project_owns_nothing(owner: str | None, project: str | None) -> None:
    image = Image(id="i", status="active", owner=owner, members=frozenset({"", "p2"}))
    assert members_for(image, Caller(project_id=project)) == []


def test_image_without_members() -> None:
    assert members_for(Image(id="i", status="active"), Caller(is_admin=True)) == []
