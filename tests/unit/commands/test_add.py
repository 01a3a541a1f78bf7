# SPDX-License-Identifier: Apache-2.0
import hashlib
import io
import json
import os
import stat
import sys
from pathlib import Path

import pytest

from imageapi.backends.writing import WriteError
from imageapi.commands import changes
from tests.deployment import Deployment
from tests.unit.commands.conftest import Run

EXISTS = (
    "imageapi: image i: it exists already; choose another id, or use the commands set and replace\n"
)

MD5 = hashlib.md5(b"data").hexdigest()
SHA512 = hashlib.sha512(b"data").hexdigest()


@pytest.fixture
def disk(deployment: Deployment) -> str:
    path = deployment.folder / "disk.raw"
    path.write_bytes(b"data")
    return str(path)


def test_prints_the_id(deployment: Deployment, run: Run, disk: str) -> None:
    status, out, err = run("add", disk, "--public")
    assert (status, err) == (0, "")
    assert deployment.data_path(out.strip()).read_bytes() == b"data"


def test_all_options(deployment: Deployment, run: Run, disk: str) -> None:
    options = (
        "--id i --name n\u00e9 --disk-format qcow2 --container-format bare --min-disk 5"
        " --min-ram 256 --private --owner p1 --protected --member p2 --member p3"
        " --property a=b=c --property empty="
    )
    assert run("add", disk, *options.split()) == (0, "i\n", "")
    shown = run("show", "i")[1].splitlines()
    for line in (
        "Name: n\u00e9",
        "Disk_format: qcow2",
        "Container_format: bare",
        "Size: 4",
        "Is_public: False",
        "Protected: True",
        "Min_ram: 256",
        "Min_disk: 5",
        "Owner: p1",
        "Property-A: b=c",
        "Property-Empty: ",
        "Members: p2, p3",
        f"Data: store 'file', file://{deployment.data_path('i')}: 4 bytes",
    ):
        assert line in shown


def test_standard_input(deployment: Deployment, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"data")))
    assert run("add", "-", "--id", "i", "--public")[0] == 0
    assert deployment.data_path("i").read_bytes() == b"data"


def test_id_that_exists(deployment: Deployment, run: Run, disk: str) -> None:
    deployment.add("i", b"before")
    status, out, err = run("add", disk, "--id", "i", "--public")
    assert (status, out, err) == (1, "", EXISTS)
    assert deployment.data_path("i").read_bytes() == b"before"


def test_data_without_a_record(deployment: Deployment, run: Run, disk: str) -> None:
    deployment.data_path("i").write_bytes(b"before")
    status, _, err = run("add", disk, "--id", "i", "--public")
    assert status == 1
    assert err.startswith(f"imageapi: image i: {deployment.data_path('i')} exists already, without")
    assert "'imageapi verify --all'" in err
    assert deployment.data_path("i").read_bytes() == b"before"


def test_no_such_file(run: Run) -> None:
    told = "imageapi: /absent/disk.raw: No such file or directory\n"
    assert run("add", "/absent/disk.raw", "--public") == (1, "", told)


def test_folder_instead_of_a_file(deployment: Deployment, run: Run) -> None:
    status, _, err = run("add", str(deployment.folder), "--public")
    assert status == 1
    assert f"{deployment.folder}: Is a directory" in err


def test_warns_of_what_cannot_be_sent(run: Run) -> None:
    status, _, err = run("add", os.devnull, "--public", "--property", "a b=c")
    assert status == 0
    assert "warning: property 'a b' is not sent" in err


@pytest.mark.parametrize("more", [[], ["--owner", "p1"], ["--member", "p1"]])
def test_warns_of_a_private_image_without_owner(run: Run, more: list[str]) -> None:
    status, _, err = run("add", os.devnull, "--private", *more)
    assert status == 0
    warning = "only admins can see it: a private image needs --owner or --member"
    assert (warning in err) == (more == [])


@pytest.mark.parametrize(
    ("core", "told"),
    [
        ("stores = memory, file", "store 'memory' (driver 'memory') cannot be written to"),
        ("registry = memory", "registry 'memory' (driver 'memory') cannot be written to"),
    ],
)
def test_backend_that_cannot_be_written_to(
    core: str, told: str, deployment: Deployment, run: Run
) -> None:
    deployment.configure(core=core)
    assert run("add", os.devnull, "--public") == (1, "", f"imageapi: {told}\n")


def test_any_registry_with_any_store(deployment: Deployment, run: Run, disk: str) -> None:
    """The record names a store that is not the first one."""
    archive = deployment.folder / "archive"
    archive.mkdir()
    deployment.configure(
        core="stores = memory, archive:file",
        more=f"[imageapi_store_archive]\ndirectory = {archive}",
    )
    assert run("add", disk, "--id", "i", "--public", "--store", "archive")[0] == 0
    record = json.loads(deployment.record_path("i").read_text())["images"][0]
    assert record["locations"] == [{"url": f"file://{archive}/i", "metadata": {"store": "archive"}}]
    status, out, _ = run("verify", "--all")
    assert (status, out.splitlines()) == (
        0,
        [
            "store 'memory': cannot list its data, so data without a record is not found",
            "images: 1, problems: 0",
        ],
    )


def test_unknown_store(run: Run) -> None:
    told = "imageapi: no store is named 'archive'; there are: file\n"
    assert run("add", os.devnull, "--public", "--store", "archive") == (1, "", told)


@pytest.mark.parametrize("checksum", [MD5, MD5.upper(), SHA512])
def test_right_checksum(run: Run, disk: str, checksum: str) -> None:
    assert run("add", disk, "--id", "i", "--public", "--checksum", checksum)[0] == 0


@pytest.mark.parametrize(
    ("checksum", "found"), [("0" * 32, MD5), ("0" * 128, SHA512)], ids=["md5", "sha512"]
)
def test_wrong_checksum(
    deployment: Deployment, run: Run, disk: str, checksum: str, found: str
) -> None:
    told = f"imageapi: image i: the data has the checksum {found}, not {checksum}\n"
    assert run("add", disk, "--id", "i", "--public", "--checksum", checksum) == (1, "", told)
    assert deployment.file_names() == []


@pytest.mark.parametrize(
    "words",
    [
        ["--id", "a/b"],
        ["--id", "detail"],
        ["--id", "x" * 256],
        ["--id", "\udcff"],
        ["--name", "\udcff"],
        ["--owner", "\udcff"],
        ["--member", "\udcff"],
        ["--disk-format", "\udcff"],
        ["--container-format", "\udcff"],
        ["--property", "a=\udcff"],
        ["--property", "\udcff=a"],
        ["--property", "a"],
        ["--property", "=b"],
        ["--min-ram", "-1"],
        ["--min-disk", "x"],
        ["--checksum", "abc"],
    ],
)
def test_wrong_options(run: Run, words: list[str]) -> None:
    status, _, told = run("add", os.devnull, "--public", *words)
    assert status == 2
    assert f"argument {words[0]}" in told
    assert ("is not UTF-8" in told) == ("\udcff" in words[1] and words[0] != "--id")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--disk-format qcow", "'qcow' is no disk format: did you mean 'qcow2'?"),
        ("--disk-format QCOW2", "'QCOW2' is no disk format: did you mean 'qcow2'?"),
        ("--disk-format zzz", "'zzz' is no disk format: use one of aki, ami"),
        ("--container-format bar", "'bar' is no container format: did you mean 'bare'?"),
    ],
)
def test_unknown_format(run: Run, words: str, told: str) -> None:
    status, _, err = run("add", os.devnull, "--public", *words.split())
    assert status == 2
    assert told in err


def test_visibility_must_be_chosen(run: Run) -> None:
    status, _, err = run("add", os.devnull)
    assert status == 2
    assert "one of the arguments --public --private is required" in err


@pytest.mark.parametrize("umask", [0o022, 0o077])
@pytest.mark.parametrize(("visibility", "mode"), [("--public", 0o644), ("--private", 0o640)])
def test_modes(deployment: Deployment, run: Run, visibility: str, mode: int, umask: int) -> None:
    """The service may run as another user than the command, under any umask."""
    before = os.umask(umask)
    try:
        assert run("add", os.devnull, "--id", "i", visibility)[0] == 0
    finally:
        os.umask(before)
    for path in (deployment.data_path("i"), deployment.record_path("i")):
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_value_that_no_record_can_have(deployment: Deployment, run: Run) -> None:
    status, _, err = run("add", os.devnull, "--id", "i", "--public", "--min-disk", "9" * 400)
    assert (status, err.splitlines()[-1][:18]) == (1, "imageapi: image i:")
    assert deployment.file_names() == []


class TestLocation:
    """Registers data that a store has already."""

    def test_is_read_and_hashed(self, deployment: Deployment, run: Run) -> None:
        (deployment.images / "disk.img").write_bytes(b"data")
        url = f"file://{deployment.images}/disk.img"
        words = ("--location", url, "--id", "i", "--public", "--checksum", MD5)
        assert run("add", *words) == (0, "i\n", "")
        record = json.loads(deployment.record_path("i").read_text())["images"][0]
        assert record["locations"] == [{"url": url}]
        assert (record["size"], record["checksum"]) == ("4", MD5)
        assert run("verify", "--all") == (0, "images: 1, problems: 0\n", "")

    @pytest.mark.parametrize(
        ("url", "more", "told"),
        [
            ("file:///etc/passwd", "", "file:///etc/passwd: /etc/passwd is not below"),
            ("file://{}/absent", "", "absent: No such file or directory"),
            ("rbd://user:s3cret@h/x", "", "rbd://h/x: no store opens a 'rbd' location"),
            ("file://{}/disk.img", "--store other", "no store named 'other' opens a 'file'"),
            ("file://{}/disk.img", f"--checksum {'0' * 32}", "the data has the checksum"),
        ],
    )
    def test_what_cannot_be_registered(
        self, deployment: Deployment, run: Run, url: str, more: str, told: str
    ) -> None:
        (deployment.images / "disk.img").write_bytes(b"data")
        location = url.format(deployment.images)
        status, _, err = run("add", "--location", location, "--id", "i", "--public", *more.split())
        assert status == 1
        assert told in err
        assert "s3cret" not in err
        assert not deployment.record_path("i").exists()
        assert (deployment.images / "disk.img").exists()

    def test_id_that_exists(self, deployment: Deployment, run: Run) -> None:
        deployment.add("i", b"data")
        url = f"file://{deployment.data_path('i')}"
        assert run("add", "--location", url, "--id", "i", "--public") == (1, "", EXISTS)


class TestInterruptions:
    """An error at the record: no record without data, and no data without a record."""

    @pytest.mark.usefixtures("files")
    @pytest.mark.parametrize("error", [KeyboardInterrupt(), WriteError("no"), OSError(28, "full")])
    @pytest.mark.parametrize("is_written", [True, False])
    def test_at_the_record(
        self,
        deployment: Deployment,
        run: Run,
        monkeypatch: pytest.MonkeyPatch,
        error: BaseException,
        is_written: bool,
    ) -> None:
        from imageapi.backends.file.record_writer import FileRecordWriter

        real = FileRecordWriter.create

        def fail(self: FileRecordWriter, image_id: str, record: bytes) -> None:
            if is_written:
                real(self, image_id, record)
            raise error

        monkeypatch.setattr(FileRecordWriter, "create", fail)
        assert run("add", os.devnull, "--id", "i", "--public")[0] == 1
        assert deployment.file_names() == []

    def test_record_that_cannot_be_read_again(
        self, deployment: Deployment, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It may be there, so its data must be."""
        from imageapi.backends.file.record_writer import FileRecordWriter
        from imageapi.errors import BackendUnavailable, ImageNotFound

        answers = iter([ImageNotFound("no record"), BackendUnavailable("gone")])

        def read(self: FileRecordWriter, image_id: str) -> bytes:
            raise next(answers)

        def create(self: FileRecordWriter, image_id: str, record: bytes) -> None:
            raise BackendUnavailable("no answer")

        monkeypatch.setattr(FileRecordWriter, "read", read)
        monkeypatch.setattr(FileRecordWriter, "create", create)
        status, _, err = run("add", os.devnull, "--id", "i", "--public")
        assert (status, err.splitlines()[-1]) == (1, "imageapi: image i: no answer")
        assert deployment.file_names() == ["i"]

    def test_second_interruption_while_the_record_is_taken_back(
        self, deployment: Deployment, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A record and its data, or neither."""
        from imageapi.backends.file.record_writer import FileRecordWriter

        real = FileRecordWriter.create

        def create(self: FileRecordWriter, image_id: str, record: bytes) -> None:
            real(self, image_id, record)
            raise KeyboardInterrupt

        def remove(self: FileRecordWriter, image_id: str, old: bytes) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(FileRecordWriter, "create", create)
        monkeypatch.setattr(FileRecordWriter, "remove", remove)
        assert run("add", os.devnull, "--id", "i", "--public")[0] == 1
        assert deployment.file_names() == ["i", "i.json"]

    @pytest.mark.parametrize("which", ["images", "registry"])
    def test_folder_that_is_missing(self, deployment: Deployment, run: Run, which: str) -> None:
        folder: Path = getattr(deployment, which)
        folder.rmdir()
        status, _, err = run("add", os.devnull, "--id", "i", "--public")
        assert status == 1
        assert f"{folder}" in err
        assert "No such file or directory" in err

    def test_interrupted(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(changes, "add", interrupt)
        assert run("add", os.devnull, "--public") == (1, "", "imageapi: interrupted\n")
