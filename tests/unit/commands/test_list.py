# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from imageapi.backends.file.registry import FileRegistry
from tests.deployment import Deployment
from tests.unit.commands.conftest import Run


def test_lines(deployment: Deployment, run: Run) -> None:
    deployment.add("b", b"data", name="two\x1b[2J")
    deployment.record("a", is_public=False, status="queued")
    (deployment.registry / "notes.txt").write_text("x")
    (deployment.registry / "a%62.json").write_text("{}")  # not how an id is encoded
    status, out, err = run("list")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        f"{'a':36}  queued       private              -  -",
        f"{'b':36}  active       public               4  two [2J",
    ]


def test_json(deployment: Deployment, run: Run) -> None:
    deployment.add("ü b", b"data", members=["p"], location="file://user:s3cret@h/x")
    status, out, _ = run("list", "--json")
    (record,) = map(json.loads, out.splitlines())
    assert (status, record["id"], record["members"]) == (0, "ü b", ["p"])
    assert "s3cret" not in out


def test_malformed_record(deployment: Deployment, run: Run) -> None:
    deployment.record("a", status="actve")
    deployment.record("b")
    status, out, err = run("list")
    assert (status, out[:2]) == (1, "b ")
    assert err.startswith(f"imageapi: image a: {deployment.record_path('a')}: status must be one")


def test_record_that_vanishes(
    deployment: Deployment, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FileRegistry, "image_ids", lambda _: iter(["absent"]))
    assert run("list") == (0, "", "")


def test_folder_that_is_missing(deployment: Deployment, run: Run) -> None:
    deployment.registry.rmdir()
    told = f"imageapi: registry 'file': {deployment.registry}: No such file or directory\n"
    assert run("list") == (1, "", told)


def test_registry_that_cannot_list(deployment: Deployment, run: Run) -> None:
    deployment.configure(core="registry = memory")
    told = "imageapi: registry 'memory' (driver 'memory') cannot list its images\n"
    assert run("list") == (1, "", told)
