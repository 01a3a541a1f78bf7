# SPDX-License-Identifier: Apache-2.0
import hashlib
import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote

import pytest

from imageapi.backends.file.record_writer import FileRecordWriter
from imageapi.backends.file.store import FileBlob
from imageapi.backends.listing import ListQuery
from imageapi.caller import Caller
from imageapi.image import Image
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


class TestFolder:
    """``import DIRECTORY`` of what ``export`` wrote: together they are a backup."""

    @pytest.fixture
    def folder(self, deployment: Deployment, tmp_path: Path, run: Run) -> Path:
        """The exported images of the deployment, which then has none."""
        path = tmp_path / "exported"
        path.mkdir()
        for image_id, data in (("i", b"data"), ("\xfc b", b"other"), ("empty", b"")):
            deployment.add(image_id, data, **self.FIELDS)
        assert run("export", "--all", "--to", str(path))[0] == 0
        for image_id in ("i", "\xfc b", "empty"):
            deployment.data_path(image_id).unlink()
            deployment.record_path(image_id).unlink()
        return path

    FIELDS: ClassVar = {
        "name": "n",
        "is_public": False,
        "owner": "p0",
        "members": ["p1"],
        "protected": True,
        "virtual_size": 7,
        "min_disk": 5,
        "created_at": "2010-02-03 09:34:01",
        "updated_at": "2011-02-03 09:34:01",
        "properties": {"a": "b", "number": 1, "null": None},
    }

    def test_everything_comes_back(self, deployment: Deployment, folder: Path, run: Run) -> None:
        status, out, err = run("import", str(folder))
        assert (status, sorted(out.splitlines()), err) == (
            0,
            ["empty: copied", "i: copied", "\xfc b: copied"],
            "",
        )
        record = json.loads(deployment.record_path("i").read_text())["images"][0]
        assert {name: record[name] for name in self.FIELDS} == self.FIELDS
        assert "locations" not in record
        assert deployment.data_path("\xfc b").read_bytes() == b"other"
        assert run("verify", "--all")[1].endswith("images: 3, problems: 0\n")
        again = run("import", str(folder))
        assert (again[0], again[1].count("skipped: it exists already")) == (0, 3)

    def test_one_image(self, deployment: Deployment, folder: Path, run: Run) -> None:
        assert run("import", "i", "--from", str(folder)) == (0, "i: copied\n", "")
        assert deployment.file_names() == ["i", "i.json"]

    @pytest.mark.parametrize("is_dump", [False, True])
    def test_data_is_checked(
        self, deployment: Deployment, folder: Path, run: Run, is_dump: bool
    ) -> None:
        if is_dump:
            (folder / "i+record.json").unlink()
        (folder / "i.img").write_bytes(b"dasa")
        status, _, err = run("import", "i", "--from", str(folder))
        assert (status, "the data's md5 is" in err) == (1, True)
        assert deployment.file_names() == []

    def test_dump_of_glance_replicator(
        self, deployment: Deployment, tmp_path: Path, run: Run
    ) -> None:
        """It has the entry of a list, and only active images have data."""
        details = {
            "id": "i",
            "status": "active",
            "name": "n",
            "size": 4,
            "checksum": "8d777f385d3dfec8815d20f7496026dc",
            "is_public": True,
            "protected": False,
            "deleted": False,
            "deleted_at": None,
            "created_at": "2026-11-20T08:00:00.000000",
            "updated_at": "2026-11-20T08:00:00.000000",
            "min_ram": 0,
            "min_disk": 0,
            "disk_format": "raw",
            "container_format": "bare",
            "owner": "p0",
            "virtual_size": None,
            "properties": {"a": "b", "c": None},
        }
        folder = tmp_path / "dump"
        folder.mkdir()
        (folder / "i").write_text(json.dumps(details))
        (folder / "i.img").write_bytes(b"data")
        (folder / "j").write_text(json.dumps({**details, "id": "j", "status": "queued"}))
        status, out, err = run("import", str(folder))
        assert (status, out, err) == (0, "i: copied\nj: skipped: its status is queued\n", "")
        record = json.loads(deployment.record_path("i").read_text())["images"][0]
        assert (record["owner"], record["properties"]) == ("p0", {"a": "b", "c": None})

    def test_incomplete_image(self, deployment: Deployment, folder: Path, run: Run) -> None:
        """The export was killed before it wrote the details, or the data was lost."""
        (folder / "empty").unlink()
        (folder / "i.img").unlink()
        status, out, err = run("import", str(folder))
        assert (status, out) == (1, "\xfc b: copied\n")
        assert err.splitlines()[-1].startswith("imageapi: image i: ")
        assert f"{folder}/i.img: No such file or directory" in err
        told = f"imageapi: image empty: no record: there is no file {folder}/empty\n"
        assert run("import", "empty", "--from", str(folder)) == (1, "", told)

    def test_malformed_record(self, folder: Path, run: Run) -> None:
        (folder / "i+record.json").write_text("{")
        status, _, err = run("import", "i", "--from", str(folder))
        assert (status, err.split("not JSON")[0]) == (
            1,
            f"imageapi: image i: {folder}/i+record.json: ",
        )

    def test_filters(self, folder: Path, run: Run) -> None:
        told = f"imageapi: folder '{folder}' (driver 'exported') cannot filter or sort its images:"
        assert run("import", str(folder), "--name", "n") == (1, "", f"{told} leave out --name\n")

    def test_folder_that_is_missing(self, tmp_path: Path, run: Run) -> None:
        status, _, err = run("import", str(tmp_path / "absent"))
        assert status == 2
        told = "name the source with --from, or one folder that 'imageapi export' wrote"
        assert f"error: {str(tmp_path / 'absent')!r} is not a folder: {told}\n" in err


class TestFilters:
    """``import --all`` with the filters of lists."""

    @pytest.fixture(autouse=True)
    def images(self, source: Deployment, listing: None) -> None:
        source.add("a", b"data", name="one", created_at="2010-01-02 00:00:00")
        source.add("b", b"other", name="one", created_at="2010-01-01 00:00:00", is_public=False)
        source.add("c", b"other", name="two", properties={"k": "v"})
        source.record("d", status="deleted", name="one", updated_at="2030-01-01 00:00:00")

    @pytest.mark.parametrize(
        ("words", "copied"),
        [
            ("", "a b c"),
            ("--name one", "b a"),
            ("--is-public false", "b"),
            ("--property k=v", "c"),
            ("--size-max 4", "a"),
            ("--changes-since 2029-01-01", ""),
        ],
    )
    def test_oldest_first(self, source: Deployment, run: Run, words: str, copied: str) -> None:
        command = ("import", "--all", "--from", str(source.config_file), *words.split())
        status, out, err = run(*command)
        found = [line.split(":")[0] for line in out.splitlines() if line.endswith(": copied")]
        assert (status, " ".join(found), err) == (0, copied, "")

    def test_malformed_record_is_named(self, source: Deployment, run: Run) -> None:
        source.record("e", status="actve")
        command = ("import", "--all", "--from", str(source.config_file), "--name", "two")
        status, out, err = run(*command)
        assert (status, out) == (1, "c: copied\n")
        assert err.startswith(f"imageapi: image e: {source.record_path('e')}: status must be")

    def test_list_without_ids(
        self, source: Deployment, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As of a Glance: the oldest first."""
        images = [Image(id=one, status="active", size=0) for one in "ab"]

        def found(
            self: MemoryRegistry, query: ListQuery, caller: Caller
        ) -> Generator[Image, None, None]:
            assert (query.all_projects, query.descending, caller.token) == (True, False, "t")
            yield from images

        monkeypatch.setattr(MemoryRegistry, "list", found)
        monkeypatch.setattr(MemoryRegistry, "get", lambda _, one, __: images["ab".index(one)])
        monkeypatch.setenv("OS_TOKEN", "t")
        source.configure(core="registry = memory")
        command = ("import", "--all", "--from", str(source.config_file))
        assert run(*command) == (0, "a: copied\nb: copied\n", "")

    def test_filters_need_all(self, source: Deployment, run: Run) -> None:
        command = ("import", "a", "--from", str(source.config_file), "--name", "one")
        status, _, err = run(*command)
        assert (status, "--name: filters need --all" in err) == (2, True)


class TestKilled:
    """An import was killed after it wrote the data, and before it wrote the record."""

    @pytest.mark.parametrize("data", [b"data", b""])
    def test_same_data_is_taken(
        self, deployment: Deployment, source: Deployment, run: Run, data: bytes
    ) -> None:
        source.add("i", data, name="n", members=["p"])
        deployment.data_path("i").write_bytes(data)
        before = deployment.data_path("i").stat().st_ino
        told = "i: copied: its data was here already\n"
        words = ("import", "i", "--from", str(source.config_file))
        assert run(*words) == (0, told, "")
        assert deployment.data_path("i").stat().st_ino == before
        record = json.loads(deployment.record_path("i").read_text())["images"][0]
        assert (record["status"], record["members"]) == ("active", ["p"])
        assert record["checksum"] == hashlib.md5(data).hexdigest()
        assert run("verify", "--all")[0] == 0
        assert run(*words)[1] == "i: skipped: it exists already\n"

    @pytest.mark.parametrize(
        "fields",
        [
            {},
            {"checksum": None},
            {
                "os_hash_algo": "sha256",
                "os_hash_value": hashlib.sha256(b"data").hexdigest(),
            },
        ],
    )
    def test_other_data_stays(
        self, deployment: Deployment, source: Deployment, run: Run, fields: dict[str, Any]
    ) -> None:
        """Nothing proves whose data it is.  Without a hash, it may be other data."""
        source.add("i", b"data", **fields)
        deployment.data_path("i").write_bytes(b"dasa")
        path = deployment.data_path("i")
        told = f"i: copied: other data stays at file://{path}, which no record uses\n"
        assert run("import", "i", "--from", str(source.config_file)) == (0, told, "")
        assert path.read_bytes() == b"dasa"
        record = json.loads(deployment.record_path("i").read_text())["images"][0]
        (location,) = record["locations"]
        assert Path(unquote(location["url"]).removeprefix("file://")).read_bytes() == b"data"
        assert run("verify", "--all")[1].startswith(f"kept: no record uses {path}, ")

    def test_another_store(self, deployment: Deployment, source: Deployment, run: Run) -> None:
        archive = deployment.folder / "archive"
        archive.mkdir()
        more = f"[imageapi_store_archive]\ndirectory = {archive}"
        deployment.configure("stores = file, archive:file", more)
        source.add("i", b"data")
        (archive / "i").write_bytes(b"data")
        words = ("import", "i", "--store", "archive", "--from", str(source.config_file))
        assert run(*words)[1] == "i: copied: its data was here already\n"
        record = json.loads(deployment.record_path("i").read_text())["images"][0]
        location = {"url": f"file://{archive}/i", "metadata": {"store": "archive"}}
        assert record["locations"] == [location]
        assert run("verify", "--all")[0] == 0

    def test_data_that_is_removed_meanwhile(
        self,
        deployment: Deployment,
        source: Deployment,
        run: Run,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The other import was not killed, but interrupted just now."""
        source.add("i", b"data")
        deployment.data_path("i").write_bytes(b"data")
        real = FileRecordWriter.create

        def create(self: FileRecordWriter, image_id: str, record: bytes) -> None:
            deployment.data_path("i").unlink()
            real(self, image_id, record)

        monkeypatch.setattr(FileRecordWriter, "create", create)
        told = "imageapi: image i: the data that was there was removed meanwhile: try again\n"
        assert run("import", "i", "--from", str(source.config_file)) == (1, "", told)
        assert deployment.file_names() == []

    def test_two_imports_at_the_same_moment(
        self,
        deployment: Deployment,
        source: Deployment,
        run: Run,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The second takes the data of the first, which must not remove it then."""
        times = {"created_at": "2010-02-03 09:34:01", "updated_at": "2010-02-03 09:34:01"}
        source.add("i", b"data", **times)
        real = FileRecordWriter.create
        words = ("import", "i", "--from", str(source.config_file))
        outputs = []

        def create(self: FileRecordWriter, image_id: str, record: bytes) -> None:
            monkeypatch.setattr(FileRecordWriter, "create", real)
            outputs.append(run(*words)[1])
            real(self, image_id, record)

        monkeypatch.setattr(FileRecordWriter, "create", create)
        status, out, err = run(*words)
        assert (status, out, outputs) == (1, "", ["i: copied: its data was here already\n"])
        assert "it exists already" in err
        assert deployment.file_names() == ["i", "i.json"]
        assert run("verify", "--all")[0] == 0
