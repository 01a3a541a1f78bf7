# SPDX-License-Identifier: Apache-2.0
import errno
import fcntl
import json
import os
import stat
import threading
from typing import Any

import pytest

from imageapi.backends.file.record_writer import FileRecordWriter
from imageapi.backends.file.registry import FileRegistry
from imageapi.backends.writing import WriteError
from imageapi.errors import BackendUnavailable, ImageNotFound, MalformedImage
from tests.deployment import Deployment


def record_bytes(**fields: Any) -> bytes:
    return json.dumps({"status": "active", "is_public": True, **fields}).encode()


@pytest.fixture
def file_writer(deployment: Deployment) -> FileRecordWriter:
    registry = deployment.api().backends.registry.backend
    assert isinstance(registry, FileRegistry)
    return registry.writer()  # type: ignore[return-value]  # it is never None here


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("image_id", ["i", "..", "ü b"])
def test_what_was_written_is_read(
    deployment: Deployment, file_writer: FileRecordWriter, image_id: str
) -> None:
    file_writer.create(image_id, record_bytes())
    assert (
        file_writer.read(image_id)
        == record_bytes()
        == deployment.record_path(image_id).read_bytes()
    )
    file_writer.replace(image_id, record_bytes(), record_bytes(name="n"))
    assert file_writer.read(image_id) == record_bytes(name="n")
    file_writer.remove(image_id, record_bytes(name="n"))
    with pytest.raises(ImageNotFound):
        file_writer.read(image_id)
    assert os.listdir(deployment.registry) == []


@pytest.mark.usefixtures("files")
def test_record_that_exists_is_not_overwritten(
    deployment: Deployment, file_writer: FileRecordWriter
) -> None:
    file_writer.create("i", record_bytes())
    with pytest.raises(WriteError, match=r"it exists already: .*/i\.json"):
        file_writer.create("i", record_bytes(name="other"))
    assert file_writer.read("i") == record_bytes()
    assert os.listdir(deployment.registry) == ["i.json"]


def test_record_that_was_changed_meanwhile_stays(
    deployment: Deployment, file_writer: FileRecordWriter
) -> None:
    file_writer.create("i", record_bytes(name="theirs"))
    with pytest.raises(WriteError, match=r"i\.json was changed meanwhile: try again"):
        file_writer.replace("i", record_bytes(), record_bytes(name="ours"))
    with pytest.raises(WriteError, match="changed meanwhile"):
        file_writer.remove("i", record_bytes())
    assert file_writer.read("i") == record_bytes(name="theirs")
    assert os.listdir(deployment.registry) == ["i.json"]


def test_record_that_is_a_link(deployment: Deployment, file_writer: FileRecordWriter) -> None:
    (deployment.registry / "real").write_bytes(record_bytes())
    deployment.record_path("i").symlink_to("real")
    assert file_writer.read("i") == record_bytes()
    told = r"i\.json is a link: change the file to which"
    with pytest.raises(WriteError, match=told):
        file_writer.replace("i", record_bytes(), record_bytes(name="n"))
    with pytest.raises(WriteError, match=told):
        file_writer.remove("i", record_bytes())
    assert file_writer.read("i") == record_bytes()


def test_link_out_of_the_folder_is_not_followed(
    deployment: Deployment, file_writer: FileRecordWriter
) -> None:
    (deployment.folder / "outside").write_bytes(record_bytes())
    deployment.record_path("i").symlink_to("../outside")
    with pytest.raises(MalformedImage, match="is not below"):
        file_writer.read("i")


@pytest.mark.parametrize(
    ("was", "becomes", "mode", "expected"),
    [
        (True, True, 0o664, 0o664),
        (False, False, 0o644, 0o644),  # a service that reads it thus must still be able to
        (False, False, 0o600, 0o600),
        (True, False, 0o664, 0o640),
        (False, True, 0o600, 0o644),
    ],
)
def test_mode_of_a_replaced_record(
    deployment: Deployment,
    file_writer: FileRecordWriter,
    was: bool,
    becomes: bool,
    mode: int,
    expected: int,
) -> None:
    old, new = record_bytes(is_public=was), record_bytes(is_public=becomes, name="n")
    deployment.record_path("i").write_bytes(old)
    deployment.record_path("i").chmod(mode)
    file_writer.replace("i", old, new)
    assert stat.S_IMODE(deployment.record_path("i").stat().st_mode) == expected


def test_owner_of_a_replaced_record(
    deployment: Deployment, file_writer: FileRecordWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The group at least, if this user may not give files away."""
    asked = []

    def fchown(_: int, owner: int, group: int) -> None:
        asked.append((owner, group))
        if owner != -1:
            raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", fchown)
    file_writer.create("i", record_bytes())
    file_writer.replace("i", record_bytes(), record_bytes(name="n"))
    status = deployment.record_path("i").stat()
    assert asked == [(status.st_uid, status.st_gid), (-1, status.st_gid)]


def test_record_larger_than_the_registry_reads(
    deployment: Deployment, file_writer: FileRecordWriter
) -> None:
    large = record_bytes(name="x" * 2**20)
    with pytest.raises(WriteError, match=r"the record would have \d+ bytes; at most 1048576"):
        file_writer.create("i", large)
    file_writer.create("i", record_bytes())
    with pytest.raises(WriteError, match="the record would have"):
        file_writer.replace("i", record_bytes(), large)
    deployment.record_path("i").write_bytes(large)
    with pytest.raises(MalformedImage, match="larger than 1048576 bytes"):
        file_writer.read("i")


def test_folder_that_is_missing(deployment: Deployment, file_writer: FileRecordWriter) -> None:
    deployment.registry.rmdir()
    with pytest.raises(BackendUnavailable, match="No such file or directory"):
        file_writer.read("i")
    told = f"{deployment.registry}: No such file or directory"
    with pytest.raises(WriteError, match=told):
        file_writer.create("i", record_bytes())
    with pytest.raises(WriteError, match=told):
        file_writer.replace("i", record_bytes(), record_bytes())
    with pytest.raises(WriteError, match=told):
        file_writer.remove("i", record_bytes())


def test_file_system_that_cannot_lock(
    file_writer: FileRecordWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(_: int, __: int) -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(fcntl, "flock", flock)
    file_writer.create("i", record_bytes())
    file_writer.replace("i", record_bytes(), record_bytes(name="n"))
    assert file_writer.read("i") == record_bytes(name="n")


def test_waits_for_another_command(deployment: Deployment, file_writer: FileRecordWriter) -> None:
    file_writer.create("i", record_bytes())
    folder = os.open(deployment.registry, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    ours = threading.Thread(
        target=file_writer.replace, args=("i", record_bytes(), record_bytes(name="n"))
    )
    ours.start()
    ours.join(0.1)
    assert ours.is_alive()
    os.close(folder)
    ours.join(10)
    assert file_writer.read("i") == record_bytes(name="n")
