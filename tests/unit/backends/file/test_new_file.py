# SPDX-License-Identifier: Apache-2.0
import contextlib
import errno
import io
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from imageapi.backends.file import new_file
from imageapi.backends.file.new_file import NewFile, leftover, remove_file, temporary_files
from imageapi.backends.writing import WriteError
from imageapi.errors import BackendUnavailable


def write_new_file(
    path: Path, data: bytes = b"new", *, replaces: bool = False, mode: int = 0o644
) -> None:
    with NewFile(str(path), mode, replaces=replaces) as file:
        file.write(data)
        file.place()


@pytest.mark.usefixtures("files")
def test_has_its_name_only_when_it_is_complete(tmp_path: Path) -> None:
    with NewFile(str(tmp_path / "f"), 0o644) as file:
        file.write(b"new")
        assert not (tmp_path / "f").exists()
        file.place()
        assert (tmp_path / "f").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["f"]


@pytest.mark.usefixtures("files")
def test_replaces_no_file_unless_told_to(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"old")
    with pytest.raises(FileExistsError):
        write_new_file(tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == b"old"
    write_new_file(tmp_path / "f", replaces=True)
    assert (tmp_path / "f").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["f"]


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
@pytest.mark.parametrize("replaces", [True, False])
def test_umask_does_not_apply(tmp_path: Path, umask: int, replaces: bool) -> None:
    before = os.umask(umask)
    try:
        write_new_file(tmp_path / "f", replaces=replaces, mode=0o640)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o640


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("is_placed", [True, False])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), OSError()])
def test_after_an_error_nothing_is_left(
    tmp_path: Path, is_placed: bool, error: BaseException
) -> None:
    def fail() -> None:
        with NewFile(str(tmp_path / "f"), 0o644) as file:
            file.write(b"new")
            if is_placed:
                file.place()
            raise error

    with pytest.raises(type(error)):
        fail()
    assert os.listdir(tmp_path) == []


@pytest.mark.usefixtures("files")
def test_kept_it_stays_after_an_error(tmp_path: Path) -> None:
    with contextlib.suppress(KeyboardInterrupt), NewFile(str(tmp_path / "f"), 0o644) as file:
        file.place()
        file.keep()
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == ["f"]


def test_file_of_somebody_else_with_its_name_stays(tmp_path: Path) -> None:
    with contextlib.suppress(KeyboardInterrupt), NewFile(str(tmp_path / "f"), 0o644) as file:
        file.place()
        (tmp_path / "f").unlink()
        (tmp_path / "f").write_bytes(b"other")
        raise KeyboardInterrupt
    assert (tmp_path / "f").read_bytes() == b"other"


def test_interruption_between_the_rename_and_its_note(tmp_path: Path, monkeypatch: Any) -> None:
    real = os.rename

    def interrupted(source: str, target: str) -> None:
        real(source, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_new_file(tmp_path / "f", replaces=True)
    assert os.listdir(tmp_path) == ["f"]


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("call", [1, 2])
def test_any_failing_sync_leaves_nothing(tmp_path: Path, monkeypatch: Any, call: int) -> None:
    calls = []

    def fsync(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == call:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="No space left on device"):
        write_new_file(tmp_path / "f")
    assert os.listdir(tmp_path) == []


@pytest.mark.usefixtures("files")
def test_mode_that_cannot_be_set_leaves_nothing(tmp_path: Path, monkeypatch: Any) -> None:
    def fchmod(_: int, __: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "fchmod", fchmod)
    with pytest.raises(PermissionError):
        NewFile(str(tmp_path / "f"), 0o644)
    assert os.listdir(tmp_path) == []


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        NewFile(str(tmp_path / "absent" / "f"), 0o644)
    assert caught.value.filename == str(tmp_path / "absent")


def test_short_writes_are_completed(tmp_path: Path, monkeypatch: Any) -> None:
    class Slow(io.FileIO):
        def write(self, data: Any, /) -> int:
            return super().write(memoryview(data)[:1000])

    monkeypatch.setattr(new_file, "open", lambda fd, mode, buffering: Slow(fd, mode), raising=False)
    data = bytes(range(256)) * 100
    write_new_file(tmp_path / "f", data)
    assert (tmp_path / "f").read_bytes() == data


def test_temporary_files(tmp_path: Path) -> None:
    (tmp_path / ".add+1").write_bytes(b"")
    (tmp_path / "f").write_bytes(b"")
    (tmp_path / ".add+folder").mkdir()
    (found,) = temporary_files(str(tmp_path))
    assert found.name == str(tmp_path / ".add+1")
    found.remove()
    assert not (tmp_path / ".add+1").exists()
    with pytest.raises(BackendUnavailable, match="absent: No such file"):
        list(temporary_files(str(tmp_path / "absent")))


def test_age_of_a_file_that_was_copied_with_its_time(tmp_path: Path) -> None:
    """It was written just now, whatever its mtime says."""
    (tmp_path / "f").write_bytes(b"")
    os.utime(tmp_path / "f", (0, 0))
    assert leftover(str(tmp_path / "f")).seconds < 60
    assert leftover(str(tmp_path / "absent")).seconds == 0


def test_remove_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"")
    remove_file(str(tmp_path / "f"))
    remove_file(str(tmp_path / "f"))
    remove_file(str(tmp_path / "absent" / "f"))
    (tmp_path / "folder").mkdir()
    with pytest.raises(WriteError, match="folder: Is a directory"):
        remove_file(str(tmp_path / "folder"))
