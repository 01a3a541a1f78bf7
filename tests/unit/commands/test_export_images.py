# SPDX-License-Identifier: Apache-2.0
import json
import os
from pathlib import Path

import pytest

from tests.deployment import Deployment
from tests.unit.commands.conftest import Run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "exported"
    path.mkdir()
    return path


def test_layout(deployment: Deployment, folder: Path, run: Run) -> None:
    deployment.add("i", b"data", name="n", properties={"a": "b"}, members=["p"])
    path = folder / "i.img"
    assert run("export", "i", "--to", str(folder)) == (0, f"i: written to {path}\n", "")
    assert path.read_bytes() == b"data"
    details = json.loads((folder / "i").read_text())
    assert details == {
        "id": "i",
        "name": "n",
        "size": "4",
        "checksum": "8d777f385d3dfec8815d20f7496026dc",
        "status": "active",
        "is_public": True,
        "min_ram": 0,
        "min_disk": 0,
        "deleted_at": "",
        "properties": {"a": "b"},
    }


def test_all_and_again(deployment: Deployment, folder: Path, run: Run) -> None:
    deployment.add("ü b", b"data")
    deployment.add("empty", b"")
    deployment.record("queued", status="queued")
    for data in (b"data", b"other data"):
        deployment.add("ü b", data)
        status, out, _ = run("export", "--all", "--to", str(folder))
        assert status == 0
        assert "queued: skipped: its status is queued" in out
        assert sorted(os.listdir(folder)) == ["%C3%BC%20b", "%C3%BC%20b.img", "empty", "empty.img"]
        assert (folder / "%C3%BC%20b.img").read_bytes() == data


def test_wrong_data_leaves_nothing(deployment: Deployment, folder: Path, run: Run) -> None:
    deployment.add("i", b"dasa", checksum="8d777f385d3dfec8815d20f7496026dc")
    status, _, err = run("export", "i", "--to", str(folder))
    assert status == 1
    assert "imageapi: image i: " in err
    assert os.listdir(folder) == []


def test_folder_that_is_missing(deployment: Deployment, tmp_path: Path, run: Run) -> None:
    deployment.add("i", b"data")
    told = f"imageapi: image i: {tmp_path}/absent: No such file or directory\n"
    assert run("export", "i", "--to", str(tmp_path / "absent")) == (1, "", told)


def test_absent(folder: Path, run: Run) -> None:
    told = "imageapi: image i: no record\n"
    assert run("export", "i", "--to", str(folder)) == (1, "", told)


def test_named_image_that_is_not_active(deployment: Deployment, folder: Path, run: Run) -> None:
    deployment.add("i", b"data", status="deactivated")
    told = "imageapi: image i: its status is deactivated: only active images are copied\n"
    assert run("export", "i", "--to", str(folder)) == (1, "", told)
