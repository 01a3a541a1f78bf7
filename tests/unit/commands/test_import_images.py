# SPDX-License-Identifier: Apache-2.0
import json
import os
from pathlib import Path
from typing import Any

import pytest

from imageapi.backends.file.store import FileBlob
from imageapi.testing.fakes import MemoryRegistry
from tests.deployment import Deployment
from tests.unit.commands.conftest import Run


@pytest.fixture
def source(tmp_path: Path) -> Deployment:
    return Deployment(tmp_path / "source")


def test_copies_record_and_data(deployment: Deployment, source: Deployment, run: Run) -> None:
    fields = {
        "name": "n",
        "is_public": False,
        "owner": "p0",
        "members": ["p1"],
        "protected": True,
        "min_disk": 5,
        "created_at": "2010-02-03 09:34:01",
        "properties": {"a": "b", "number": 1},
    }
    source.add("i", b"data", **fields)
    words = ("import", "i", "--from", str(source.config_file))
    assert run(*words) == (0, "i: copied\n", "")
    record = json.loads(deployment.record_path("i").read_text())["images"][0]
    assert {name: record[name] for name in fields} == fields
    assert "locations" not in record
    assert deployment.data_path("i").read_bytes() == b"data"
    assert run(*words) == (0, "i: skipped: it exists already\n", "")


def test_all(deployment: Deployment, source: Deployment, run: Run) -> None:
    source.add("a", b"data")
    source.add("b", b"")
    source.record("c", status="queued")
    source.record("d", status="actve")
    status, out, err = run("import", "--all", "--from", str(source.config_file))
    assert status == 1
    assert out.splitlines() == ["a: copied", "b: copied", "c: skipped: its status is queued"]
    assert err.startswith(f"imageapi: image d: {source.record_path('d')}: status must be one of")
    assert deployment.file_names() == ["a", "a.json", "b", "b.json"]


def test_image_without_a_size(deployment: Deployment, source: Deployment, run: Run) -> None:
    source.add("i", b"data", size=None, checksum=None)
    words = ("import", "i", "--from", str(source.config_file))
    assert run(*words)[1] == "i: copied\n"
    assert run(*words)[1] == "i: skipped: it exists already\n"
    assert run("verify", "--all")[0] == 0


def test_several_locations(deployment: Deployment, source: Deployment, run: Run) -> None:
    """The first one that works."""
    urls = [f"file://{source.images}/{name}" for name in ("absent", "i")]
    source.add("i", b"data", locations=["rbd:x", *urls])
    assert run("import", "i", "--from", str(source.config_file))[1] == "i: copied\n"
    assert deployment.data_path("i").read_bytes() == b"data"


@pytest.mark.parametrize(
    ("data", "fields", "told"),
    [
        (b"dasa", {"checksum": "8d777f385d3dfec8815d20f7496026dc"}, "md5"),
        (b"data", {"size": 5}, "the data is 4 bytes, not 5"),
        (b"", {"checksum": "8d777f385d3dfec8815d20f7496026dc"}, "not that of empty data"),
        (b"x" * 3_000_000, {"checksum": "8d777f385d3dfec8815d20f7496026dc"}, "md5"),
    ],
)
def test_wrong_data_leaves_nothing(
    deployment: Deployment, source: Deployment, run: Run, data: bytes, fields: Any, told: str
) -> None:
    source.add("i", data, **fields)
    status, out, err = run("import", "i", "--from", str(source.config_file))
    assert (status, out) == (1, "")
    assert told in err.splitlines()[-1]
    assert deployment.file_names() == []


@pytest.mark.usefixtures("settled")
def test_source_that_breaks_off_is_resumed(
    deployment: Deployment, source: Deployment, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = os.urandom(5_000_000)
    source.add("i", data)
    real = FileBlob.__next__
    chunks = iter(range(1000))

    def break_off(self: FileBlob) -> bytes:
        if next(chunks) % 7 == 6:
            from imageapi.errors import BackendUnavailable

            raise BackendUnavailable("broken off")
        return real(self)

    monkeypatch.setattr(FileBlob, "__next__", break_off)
    assert run("import", "i", "--from", str(source.config_file))[1] == "i: copied\n"
    assert deployment.data_path("i").read_bytes() == data


def test_other_data_of_the_same_id(deployment: Deployment, source: Deployment, run: Run) -> None:
    source.add("i", b"data")
    deployment.add("i", b"other data")
    told = "imageapi: image i: it exists already, with other data\n"
    assert run("import", "i", "--from", str(source.config_file)) == (1, "", told)


def test_absent(source: Deployment, run: Run) -> None:
    told = "imageapi: image i: no record\n"
    assert run("import", "i", "--from", str(source.config_file)) == (1, "", told)


@pytest.mark.parametrize("words", ["--from F", "--from F --all i", "i"])
def test_wrong_command_line(run: Run, words: str) -> None:
    assert run("import", *words.split())[0] == 2


def test_source_that_cannot_list(
    source: Deployment, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryRegistry, "can_list", False)
    source.configure(core="registry = memory")
    told = "imageapi: registry 'memory' (driver 'memory') cannot list its images\n"
    assert run("import", "--all", "--from", str(source.config_file)) == (1, "", told)


def test_target_that_cannot_be_written_to(
    deployment: Deployment, source: Deployment, run: Run
) -> None:
    deployment.configure(core="registry = memory")
    told = "imageapi: registry 'memory' (driver 'memory') cannot be written to\n"
    assert run("import", "i", "--from", str(source.config_file)) == (1, "", told)


def test_named_image_that_is_not_active(source: Deployment, run: Run) -> None:
    source.add("i", b"data", status="deactivated")
    told = "imageapi: image i: its status is deactivated: only active images are copied\n"
    assert run("import", "i", "--from", str(source.config_file)) == (1, "", told)
