# SPDX-License-Identifier: Apache-2.0
import copy
from datetime import UTC, datetime

from imageapi.image import Image, Location
from imageapi.policy.base import Target

IMAGE = Image(
    id="i",
    status="active",
    name="",
    is_public=True,
    owner="p1",
    size=5,
    created_at=datetime(2010, 2, 3, 9, 34, 1, tzinfo=UTC),
    members=frozenset({"b", "a"}),
    locations=(Location("swift://user:s3cret@x/c/o"),),
    properties={"distro": "Ubuntu", "owner": "forged", "empty": None},
)


def test_target_has_fields_and_properties() -> None:
    target = Target(IMAGE)
    assert (target["owner"], target["size"], target["distro"]) == ("p1", 5, "Ubuntu")
    assert target["is_public"] is True
    assert str(target["created_at"]).startswith("2010-02-03")


def test_target_has_the_names_of_rules_for_glance() -> None:
    target = Target(IMAGE)
    assert (target["project_id"], target["visibility"]) == ("p1", "public")
    assert target["members"] == ["a", "b"]


def test_value_that_is_missing_or_empty_is_absent() -> None:
    """It would equal another missing value in a rule."""
    target = Target(IMAGE)
    for name in ("name", "checksum", "empty", "nonsense"):
        assert name not in target
    assert len(target) == len(list(target)) == len(dict(target))


def test_locations_are_not_in_a_target() -> None:
    assert "locations" not in Target(IMAGE)
    assert "s3cret" not in repr(dict(Target(IMAGE)))


def test_copy_of_a_target_is_a_dict() -> None:
    assert copy.deepcopy(Target(IMAGE)) == dict(Target(IMAGE))
