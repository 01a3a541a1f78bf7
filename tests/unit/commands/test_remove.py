# SPDX-License-Identifier: Apache-2.0
import os

import pytest

from imageapi.backends.file.data_writer import FileDataWriter
from imageapi.backends.file.record_writer import FileRecordWriter
from imageapi.backends.writing import WriteError
from imageapi.image import Location
from tests.deployment import Deployment
from tests.unit.commands.conftest import Run


@pytest.mark.parametrize("image_id", ["i", "..", "ü b"])
def test_record_and_data_are_gone(deployment: Deployment, run: Run, image_id: str) -> None:
    deployment.add(image_id, b"data")
    deployment.add("other", b"data")
    assert run("remove", image_id) == (0, "", "")
    assert deployment.file_names() == ["other", "other.json"]
    assert run("remove", image_id)[0] == 1


def test_replaced_data_goes_too(deployment: Deployment, run: Run) -> None:
    assert run("add", os.devnull, "--id", "i", "--public")[0] == 0
    assert run("replace", "i", str(deployment.config_file))[0] == 0
    assert run("remove", "i") == (0, "", "")
    assert deployment.file_names() == []


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"protected": True}, "it is protected: first run 'imageapi set i --no-protected'"),
        ({"status": "actve"}, "status must be one of"),
        (None, "no record"),
    ],
)
def test_what_cannot_be_removed(
    deployment: Deployment, run: Run, fields: dict[str, object] | None, told: str
) -> None:
    if fields is not None:
        deployment.add("i", b"data", **fields)
    before = deployment.file_names()
    status, _, err = run("remove", "i")
    assert status == 1
    assert err.startswith(f"imageapi: image i: {told}")
    assert deployment.file_names() == before


def test_data_that_others_may_use_stays(
    deployment: Deployment, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    (deployment.images / "shared.img").write_bytes(b"data")
    deployment.add("i", b"data", locations=[f"file://{deployment.images}/shared.img", "rbd:x"])
    assert run("remove", "i")[0] == 0
    assert deployment.file_names() == ["i", "shared.img"]
    assert "data that others may use is not removed: store 'file', file://" in caplog.text
    assert "data of no store is not removed" in caplog.text


def test_data_that_cannot_be_removed(
    deployment: Deployment,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No record uses it, and `verify` will name it."""
    deployment.add("i", b"data")

    def refuse(self: FileDataWriter, location: Location) -> None:
        raise WriteError("Permission denied")

    monkeypatch.setattr(FileDataWriter, "remove", refuse)
    assert run("remove", "i")[0] == 0
    assert deployment.file_names() == ["i"]
    assert "is left, and no record uses it: Permission denied" in caplog.text


def test_record_that_another_command_writes_again(
    deployment: Deployment, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As can happen in Swift, which has no lock: its data stays."""
    deployment.add("i", b"data")
    real = FileRecordWriter.remove

    def remove(self: FileRecordWriter, image_id: str, old: bytes) -> None:
        real(self, image_id, old)
        deployment.add("i", b"data", name="theirs")

    monkeypatch.setattr(FileRecordWriter, "remove", remove)
    status, _, err = run("remove", "i")
    assert status == 1
    assert "another command wrote its record at the same moment: try again" in err
    assert deployment.file_names() == ["i", "i.json"]
