# SPDX-License-Identifier: Apache-2.0
import json
from typing import Any

import pytest

from imageapi import document
from imageapi.document.unknown_keys import notes_of

V1: dict[str, Any] = {"status": "active"}
V2: dict[str, Any] = {"status": "active", "visibility": "public"}


def notes_on(fields: dict[str, Any]) -> list[str]:
    return list(notes_of(document.parse(json.dumps(fields).encode(), "i")))


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("stauts", " (did you mean 'status'?)"),
        ("Is_Public", " (did you mean 'is_public'?)"),
        ("visibilty", " (did you mean 'visibility'?)"),
        ("wholly other", ""),
    ],
)
def test_unknown_key_of_version_1(key: str, hint: str) -> None:
    (note,) = notes_on({**V1, key: "deactivated"})
    assert note == (
        f"the record's key {key!r} is not the name of a field{hint};"
        " correct it, or move it into the properties"
    )


def test_keys_that_are_known_or_ignored_by_documentation() -> None:
    assert (
        notes_on({**V1, "uri": "u", "properties": {"stauts": 1}, "self": "/v2", "tags": []}) == []
    )


@pytest.mark.parametrize("key", ["stauts", "is_publc", "checksumm", "min-disk", "Owner", "sise"])
def test_near_miss_of_version_2(key: str) -> None:
    (note,) = notes_on({**V2, key: "x"})
    assert f"{key!r} is not the name of a field (did you mean" in note


def test_usual_properties_of_version_2() -> None:
    usual = """
        architecture base_image_ref boot_roles cinder_encryption_key_id hw_disk_bus hw_vif_model
        hypervisor_type image_location image_state image_type instance_uuid kernel_id os_admin_user
        os_distro os_type os_version owner_id owner_project_name owner_specified.openstack.md5
        owner_user_name ramdisk_id signature_verified user_id version img_config_drive os_hash
    """.split()
    assert notes_on({**V2, **dict.fromkeys(usual, "x")}) == []


def test_many_unknown_keys_are_counted() -> None:
    notes = notes_on({**V1, **{f"key {number}": 1 for number in range(25)}})
    assert len(notes) == 11
    assert notes[-1] == "further unknown keys of the record: 15"


def test_they_are_no_difference_between_images() -> None:
    one = document.parse(json.dumps({**V1, "stauts": 1}).encode(), "i")
    assert one == document.parse(json.dumps(V1).encode(), "i")
    assert one.unknown_keys == ("stauts",)
