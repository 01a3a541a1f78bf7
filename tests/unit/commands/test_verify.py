# SPDX-License-Identifier: Apache-2.0
import hashlib
import os
from typing import Any

import pytest

from imageapi.backends.file import new_file
from imageapi.backends.file.record_writer import FileRecordWriter
from imageapi.backends.file.registry import FileRegistry
from imageapi.backends.file.store import FileStore
from imageapi.backends.listing import ListQuery
from imageapi.backends.writing import WriteError
from imageapi.caller import Caller
from imageapi.commands import verify
from imageapi.testing.fakes import MemoryRegistry
from tests.deployment import Deployment
from tests.unit.commands.conftest import Run

MD5 = hashlib.md5(b"data").hexdigest()


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever lies there was written more than a day ago."""
    monkeypatch.setattr(verify, "_OLD_SECONDS", -1)


def test_fine(deployment: Deployment, run: Run) -> None:
    deployment.add("i", b"data")
    deployment.add("empty", b"")
    deployment.record("nothing", size=0)  # no request opens its data
    deployment.record("queued", status="queued")
    assert run("verify", "--all") == (0, "images: 4, problems: 0\n", "")
    assert run("verify", "i") == (0, "images: 1, problems: 0\n", "")


@pytest.mark.parametrize(
    ("data", "fields", "told"),
    [
        (b"dasa", {"checksum": MD5}, f"the data's md5 is {hashlib.md5(b'dasa').hexdigest()}, not"),
        (b"data", {"size": 5}, "the data is 4 bytes, not 5 as its record says"),
        (b"data", {"os_hash_algo": "sha256", "os_hash_value": "ab"}, "the data's sha256 is"),
        (b"data", {"os_hash_algo": "sha-x", "os_hash_value": "ab"}, "this Python cannot compute"),
        (b"data", {"locations": ["file:///etc/passwd"]}, "/etc/passwd is not below"),
        (b"data", {"locations": ["rbd://u:s3cret@h/x"]}, "no store, rbd://h/x: no store opens"),
        (b"", {"checksum": MD5}, "the size is 0, but the md5 is not that of empty data"),
        (b"data", {"status": "deactivated", "size": 5}, "the data is 4 bytes, not 5"),
    ],
)
def test_problems(
    deployment: Deployment, run: Run, data: bytes, fields: dict[str, Any], told: str
) -> None:
    deployment.add("i", data, **fields)
    status, out, _ = run("verify", "i")
    assert status == 1
    assert out.startswith("image i: ")
    assert told in out
    assert "s3cret" not in out
    assert out.endswith("images: 1, problems: 1\n")


@pytest.mark.parametrize("mode", ["log", "refuse", "serve"])
def test_unsafe_data(deployment: Deployment, run: Run, mode: str) -> None:
    deployment.configure(f"unsafe_images = {mode}")
    deployment.add("i", b"QED\0and more", disk_format="raw")
    status, out, _ = run("verify", "--all")
    problem = "the data is a QED image, which OpenStack does not support"
    assert (status, problem in out) == ((0, False) if mode == "serve" else (1, True))


def test_each_location_is_read(deployment: Deployment, run: Run) -> None:
    (deployment.images / "copy").write_bytes(b"dasa")
    deployment.add(
        "i", b"data", locations=[f"file://{deployment.images}/{name}" for name in ("i", "copy")]
    )
    status, out, _ = run("verify", "i")
    assert (status, out.count("the data's md5 is")) == (1, 1)


def test_data_that_is_missing(deployment: Deployment, run: Run) -> None:
    deployment.record("i", size=4)
    status, out, _ = run("verify", "--all")
    assert status == 1
    assert f"image i: store 'file', file://{deployment.data_path('i')}: " in out


def test_absent(run: Run) -> None:
    status, out, _ = run("verify", "absent")
    assert status == 1
    assert out.startswith("image absent: registry 'file': no record\n")


@pytest.mark.usefixtures("old")
def test_orphans(deployment: Deployment, run: Run) -> None:
    deployment.add("i", b"data")
    for folder, name in (("images", "j"), ("images", ".add+1"), ("registry", ".add+2")):
        (getattr(deployment, folder) / name).write_bytes(b"x")
    status, out, _ = run("verify", "--all")
    assert status == 1
    assert out.splitlines() == [
        f"no record uses {deployment.registry}/.add+2",
        f"no record uses {deployment.images}/.add+1",
        f"no record uses {deployment.images}/j",
        "images: 1, problems: 3",
    ]
    status, out, _ = run("verify", "--all", "--remove-orphans")
    assert (status, out.count("removed: ")) == (0, 3)
    assert os.listdir(deployment.images) == ["i"]
    assert os.listdir(deployment.registry) == ["i.json"]


def test_no_orphan_is_looked_for_where_another_service_writes_data(
    deployment: Deployment, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The data of an upload would look unused until its record names it."""
    monkeypatch.setattr(FileRecordWriter, "needs_locations", True)
    deployment.add("i", b"data")
    (deployment.images / "j").write_bytes(b"x")
    status, out, _ = run("verify", "--all", "--remove-orphans")
    assert (status, sorted(os.listdir(deployment.images))) == (0, ["i", "j"])
    assert "not looked for, because others use registry 'file' too" in out


def test_orphan_that_may_be_an_image_being_added(deployment: Deployment, run: Run) -> None:
    deployment.data_path("j").write_bytes(b"x")
    told = f"kept: no record uses {deployment.data_path('j')}, but it was written or changed"
    told += " less than a day ago\n"
    assert run("verify", "--all") == (0, f"{told}images: 0, problems: 0\n", "")
    assert run("verify", "--all", "--remove-orphans")[0] == 0
    assert deployment.data_path("j").exists()


@pytest.mark.usefixtures("old")
@pytest.mark.parametrize("status", ["active", "actve"])
def test_record_that_the_listing_did_not_have(
    deployment: Deployment, run: Run, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    """Swift's listings can be old: the record itself is asked, even if it is malformed."""
    deployment.add("i", b"data", status=status)
    monkeypatch.setattr(FileRegistry, "image_ids", lambda _: iter(()))
    assert run("verify", "--all", "--remove-orphans") == (0, "images: 0, problems: 0\n", "")
    assert deployment.data_path("i").exists()


@pytest.mark.usefixtures("old")
def test_malformed_record_hides_which_data_it_uses(deployment: Deployment, run: Run) -> None:
    deployment.data_path("j").write_bytes(b"x")
    deployment.record("i", status="actve")
    status, out, _ = run("verify", "--all", "--remove-orphans")
    assert status == 1
    assert f"image i: registry 'file': {deployment.record_path('i')}: status must be" in out
    assert "data without a record is not looked for, because some records cannot be read" in out
    assert deployment.data_path("j").exists()


@pytest.mark.usefixtures("old")
def test_orphan_that_cannot_be_removed(
    deployment: Deployment, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> None:
        raise WriteError(f"{path}: Permission denied")

    monkeypatch.setattr(new_file, "remove_file", refuse)
    deployment.data_path("j").write_bytes(b"x")
    status, out, _ = run("verify", "--all", "--remove-orphans")
    assert status == 1
    assert f"it cannot be removed: {deployment.data_path('j')}: Permission denied" in out


def test_store_that_is_missing(deployment: Deployment, run: Run) -> None:
    deployment.images.rmdir()
    status, out, _ = run("verify", "--all")
    assert status == 1
    assert "cannot be looked for" in out
    assert f"{deployment.images}: No such file or directory" in out


@pytest.mark.parametrize("meanwhile", ["replaced", "removed"])
def test_image_that_is_changed_while_it_is_read(
    deployment: Deployment, run: Run, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    deployment.add("i", b"data")
    real = FileStore.open

    def open_later(self: FileStore, *words: Any, **more: Any) -> Any:
        monkeypatch.setattr(FileStore, "open", real)
        deployment.data_path("i").unlink()
        if meanwhile == "removed":
            deployment.record_path("i").unlink()
        else:
            deployment.add("i", b"other data")
        deployment.data_path("i").exists()
        return real(self, *words, **more)

    monkeypatch.setattr(FileStore, "open", open_later)
    count = 1 if meanwhile == "replaced" else 0
    assert run("verify", "--all") == (0, f"images: {count}, problems: 0\n", "")


@pytest.mark.parametrize("words", ["", "--all i", "i --remove-orphans"])
def test_wrong_command_line(run: Run, words: str) -> None:
    status, _, err = run("verify", *words.split())
    assert status == 2
    assert "name images, or give --all" in err


def test_registry_that_cannot_list(
    deployment: Deployment, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryRegistry, "can_list", False)
    deployment.configure(core="registry = memory")
    told = "imageapi: registry 'memory' (driver 'memory') cannot list its images\n"
    assert run("verify", "--all") == (1, "", told)


@pytest.mark.usefixtures("old")
def test_registry_that_only_lists(
    deployment: Deployment, run: Run, monkeypatch: pytest.MonkeyPatch, listing: None
) -> None:
    """A malformed record is not in a list, so its data must not look unused."""
    deployment.add("i", b"data", size=5)
    deployment.add("j", b"data", status="actve")
    listed = FileRegistry.list
    real = FileRegistry.image_ids

    def found(self: FileRegistry, query: ListQuery, caller: Caller) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(FileRegistry, "image_ids", real)
            images = list(listed(self, query, caller))
        yield from images

    monkeypatch.setattr(FileRegistry, "list", found)
    monkeypatch.setattr(FileRegistry, "image_ids", lambda _: None)
    status, out, _ = run("verify", "--all", "--remove-orphans")
    assert status == 1
    assert out.splitlines()[1:] == [
        "data without a record is not looked for, because registry 'file' lists no ids",
        "images: 1, problems: 1",
    ]
    assert "the data is 4 bytes, not 5" in out
    assert deployment.data_path("j").exists()


def test_unknown_keys_are_told_and_no_problem(deployment: Deployment, run: Run) -> None:
    deployment.add("i", b"data", stauts="deactivated")
    status, shown, _ = run("verify", "i")
    assert status == 0
    assert "image i: the record's key 'stauts' is not the name of a field" in shown
