# SPDX-License-Identifier: Apache-2.0
from typing import Any

import pytest

from tests.deployment import Deployment

SECRET_LOCATION = "swift+https://user:s3cret@host/v1/c/o?sig=s1gnature"


def test_absent(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", "absent") == 1
    error = capsys.readouterr().err
    assert error == "imageapi: image absent: registry 'file': no record\n"


def test_nothing_that_a_terminal_would_obey(
    deployment: Deployment, run: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    deployment.add("i", b"data", members=["\x1b[2Jp", "\ud800"], name="\x1b[2Jn")
    assert run("show", "i") == 0
    shown = capsys.readouterr().out
    assert "Name:  [2Jn" in shown
    assert "Members:  [2Jp, \\ud800" in shown


def test_malformed(deployment: Deployment, run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    deployment.record_path("i").write_text("{")
    assert run("show", "i") == 1
    assert str(deployment.record_path("i")) in capsys.readouterr().err


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
    run: Any,
    capsys: pytest.CaptureFixture[str],
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
    assert run("show", "i") == status
    shown = capsys.readouterr().out
    assert told.format(images, images) in shown
    assert "s3cret" not in shown
    assert "s1gnature" not in shown
