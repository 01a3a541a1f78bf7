# SPDX-License-Identifier: Apache-2.0
import json
import os
from pathlib import Path

import pytest

from imageapi.commands.exported import ExportedImages
from tests.deployment import Deployment
from tests.unit.commands.conftest import Run

#: The ends of the names of an image's files.
ENDS = ("", ".img", "+record.json")


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
    record = json.loads((folder / "i+record.json").read_text())
    assert (record["members"], record["properties"]) == (["p"], {"a": "b"})
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_locations_are_not_written(deployment: Deployment, folder: Path, run: Run) -> None:
    """They may hold credentials."""
    location = f"file://user:s3cret@{deployment.data_path('i')}"
    deployment.add("i", b"data", locations=[location, f"file://{deployment.data_path('i')}"])
    assert run("export", "i", "--to", str(folder))[0] == 0
    assert not [path for path in folder.iterdir() if b"s3cret" in path.read_bytes()]


def test_id_that_looks_like_the_data_of_another(
    deployment: Deployment, folder: Path, run: Run
) -> None:
    deployment.add("a", b"data of a")
    deployment.add("a.img", b"data of a.img")
    assert run("export", "--all", "--to", str(folder))[0] == 0
    assert (folder / "a.img").read_bytes() == b"data of a"
    assert (folder / "a%2Eimg.img").read_bytes() == b"data of a.img"
    assert sorted(ExportedImages(str(folder)).image_ids()) == ["a", "a.img"]


def test_all_and_again(deployment: Deployment, folder: Path, run: Run) -> None:
    deployment.add("ü b", b"data")
    deployment.add("empty", b"")
    deployment.record("queued", status="queued")
    for data in (b"data", b"other data"):
        deployment.add("ü b", data)
        status, out, _ = run("export", "--all", "--to", str(folder))
        assert status == 0
        assert "queued: skipped: its status is queued" in out
        names = [name + end for name in ("%C3%BC%20b", "empty") for end in ENDS]
        assert sorted(os.listdir(folder)) == sorted(names)
        assert (folder / "%C3%BC%20b.img").read_bytes() == data


def test_wrong_data_leaves_nothing(deployment: Deployment, folder: Path, run: Run) -> None:
    deployment.add("i", b"dasa", checksum="8d777f385d3dfec8815d20f7496026dc")
    status, _, err = run("export", "i", "--to", str(folder))
    assert status == 1
    assert "imageapi: image i: " in err
    assert os.listdir(folder) == []


def test_folder_that_is_missing(deployment: Deployment, tmp_path: Path, run: Run) -> None:
    """It is told once, however many images there are."""
    deployment.add("i", b"data")
    deployment.add("j", b"data")
    told = (
        f"imageapi: {tmp_path}/absent: No such file or directory; create this folder,"
        " or name another with --to\n"
    )
    assert run("export", "--all", "--to", str(tmp_path / "absent")) == (1, "", told)


def test_absent(folder: Path, run: Run) -> None:
    told = "imageapi: image i: no record\n"
    assert run("export", "i", "--to", str(folder)) == (1, "", told)


def test_named_image_that_is_not_active(deployment: Deployment, folder: Path, run: Run) -> None:
    deployment.add("i", b"data", status="deactivated")
    told = "imageapi: image i: its status is deactivated: only active images are copied\n"
    assert run("export", "i", "--to", str(folder)) == (1, "", told)
