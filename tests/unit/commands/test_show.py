# SPDX-License-Identifier: Apache-2.0
import json
from typing import Any

import pytest

from tests.deployment import Deployment
from tests.unit.commands.conftest import Run

SECRET_LOCATION = "swift+https://user:s3cret@host/v1/c/o?sig=s1gnature"


def test_absent(run: Run) -> None:
    status, _, error = run("show", "absent")
    assert status == 1
    assert error == "imageapi: image absent: registry 'file': no record\n"


def test_nothing_that_a_terminal_would_obey(deployment: Deployment, run: Run) -> None:
    deployment.add("i", b"data", members=["\x1b[2Jp", "\ud800"], name="\x1b[2Jn")
    status, shown, _ = run("show", "i")
    assert status == 0
    assert "Name:  [2Jn" in shown
    assert "Members:  [2Jp, \\ud800" in shown


def test_malformed(deployment: Deployment, run: Run) -> None:
    deployment.record_path("i").write_text("{")
    status, _, error = run("show", "i")
    assert status == 1
    assert str(deployment.record_path("i")) in error


@pytest.mark.parametrize(
    ("fields", "told", "status"),
    [
        ({"location": "file://{}/absent"}, "file://{}/absent: {}/absent: No such file", 1),
        ({"location": "file:///etc/passwd"}, "/etc/passwd is not below {}", 1),
        (
            {"location": SECRET_LOCATION},
            "no store, swift+https://host/v1/c/o: no store opens",
            1,
        ),
        ({"locations": ["rbd:x", "file://{}/i"]}, "store 'file', file://{}/i: 4 bytes", 0),
        ({"size": 5}, "4 bytes, but the record says 5 bytes", 1),
        ({"members": ["p2", "p1"]}, "Members: p1, p2", 0),
    ],
)
def test_where_the_data_is(
    deployment: Deployment,
    run: Run,
    fields: dict[str, Any],
    told: str,
    status: int,
) -> None:
    images = str(deployment.images)
    for name in ("location", "locations"):
        if name in fields:
            value = fields[name]
            filled = [one.format(images) for one in ([value] if name == "location" else value)]
            fields = {"locations": filled}
    deployment.add("i", b"data", **fields)
    found, shown, _ = run("show", "i")
    assert found == status
    assert told.format(images, images) in shown
    assert "s3cret" not in shown
    assert "s1gnature" not in shown


def test_json(deployment: Deployment, run: Run) -> None:
    """All of the record except its locations, which may have credentials."""
    deployment.add("i", b"data", members=["p1"], locations=[SECRET_LOCATION], properties={"a": 1})
    status, shown, _ = run("show", "i", "--json")
    record = json.loads(shown)
    assert status == 0
    assert (record["id"], record["members"], record["properties"]) == ("i", ["p1"], {"a": 1})
    assert (record["protected"], record["size"]) == (False, "4")
    assert "locations" not in record
    assert "uri" not in record


def test_unknown_keys(deployment: Deployment, run: Run) -> None:
    deployment.add("i", b"data", stauts="deactivated")
    status, shown, _ = run("show", "i")
    assert status == 0
    assert "Note: the record's key 'stauts' is not the name of a field" in shown
