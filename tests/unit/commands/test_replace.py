# SPDX-License-Identifier: Apache-2.0
import hashlib
import json
import os
from typing import Any

import pytest

from imageapi.backends.file.record_writer import FileRecordWriter
from imageapi.backends.writing import WriteError
from tests.deployment import Deployment, served_data
from tests.unit.commands.conftest import Run

MD5 = hashlib.md5(b"new data").hexdigest()


@pytest.fixture
def new_disk(deployment: Deployment) -> str:
    path = deployment.folder / "disk.raw"
    path.write_bytes(b"new data")
    return str(path)


@pytest.mark.parametrize("times", [1, 3])
def test_other_data(deployment: Deployment, run: Run, new_disk: str, times: int) -> None:
    deployment.add("i", b"data", name="n", virtual_size=9, location=None, unknown=1)
    for _ in range(times):
        assert run("replace", "i", new_disk, "--checksum", MD5) == (0, "", "")
    assert served_data(deployment.config_file) == b"new data"
    record = json.loads(deployment.record_path("i").read_text())
    assert (record["name"], record["size"], record["checksum"]) == ("n", 8, MD5)
    assert record["os_hash_value"] == hashlib.sha512(b"new data").hexdigest()
    assert "virtual_size" not in record
    assert record["unknown"] == 1
    assert len(os.listdir(deployment.images)) == 1
    status, shown, _ = run("verify", "--all")
    assert (status, shown.splitlines()[-1]) == (0, "images: 1, problems: 0")


@pytest.mark.parametrize(
    ("before", "after"),
    [("queued", "active"), ("deactivated", "deactivated"), ("active", "active")],
)
def test_status(deployment: Deployment, run: Run, new_disk: str, before: str, after: str) -> None:
    deployment.record("i", status=before)
    assert run("replace", "i", new_disk)[0] == 0
    assert json.loads(deployment.record_path("i").read_text())["status"] == after


def test_several_locations(
    deployment: Deployment, run: Run, new_disk: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The record names only the new data; data of others stays."""
    (deployment.images / "shared").write_bytes(b"data")
    urls = [f"file://{deployment.images}/{name}" for name in ("shared", "i")]
    deployment.add("i", b"data", locations=urls)
    assert run("replace", "i", new_disk)[0] == 0
    assert served_data(deployment.config_file) == b"new data"
    assert not deployment.data_path("i").exists()
    assert (deployment.images / "shared").exists()
    assert "data that others may use is not removed" in caplog.text


@pytest.mark.parametrize(
    ("fields", "more", "told"),
    [
        ({"protected": True}, "", "it is protected: first run 'imageapi set i --no-protected'"),
        ({"status": "deleted"}, "", "it is deleted: add an image with another id"),
        ({"status": "actve"}, "", "status must be one of"),
        (None, "", "no record"),
        ({}, f"--checksum {'0' * 32}", f"the data has the checksum {MD5}, not {'0' * 32}"),
    ],
)
def test_what_cannot_be_replaced(
    deployment: Deployment, run: Run, new_disk: str, fields: Any, more: str, told: str
) -> None:
    if fields is not None:
        deployment.add("i", b"data", **fields)
    before = os.listdir(deployment.images)
    status, _, err = run("replace", "i", new_disk, *more.split())
    assert status == 1
    assert err.startswith(f"imageapi: image i: {told}")
    assert os.listdir(deployment.images) == before


def test_no_such_file(deployment: Deployment, run: Run) -> None:
    deployment.add("i", b"data")
    told = "imageapi: /absent: No such file or directory\n"
    assert run("replace", "i", "/absent") == (1, "", told)


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("error", [KeyboardInterrupt(), WriteError("no"), OSError(28, "full")])
@pytest.mark.parametrize(
    ("meanwhile", "data"),
    [("nothing", b"data"), ("written", b"new data"), ("changed", b"new data"), ("gone", None)],
)
def test_error_at_the_record(
    deployment: Deployment,
    run: Run,
    new_disk: str,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    meanwhile: str,
    data: bytes | None,
) -> None:
    """The record says which data stays, whoever wrote it."""
    deployment.add("i", b"data")
    real = FileRecordWriter.replace

    def fail(self: FileRecordWriter, image_id: str, old: bytes, new: bytes) -> None:
        if meanwhile in ("written", "changed"):
            real(self, image_id, old, new)
        if meanwhile == "changed":
            real(self, image_id, new, new.replace(b'"status"', b'"name": "n", "status"'))
        if meanwhile == "gone":
            deployment.record_path("i").unlink()
        raise error

    monkeypatch.setattr(FileRecordWriter, "replace", fail)
    assert run("replace", "i", new_disk)[0] == 1
    if data is None:
        assert os.listdir(deployment.images) == ["i"]
    else:
        assert served_data(deployment.config_file) == data
        assert len(os.listdir(deployment.images)) == (1 if data == b"data" else 2)
