# SPDX-License-Identifier: Apache-2.0
import fcntl
import os
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from imageapi.cache.files import give_to_owner, is_at, open_file
from imageapi.cache.folder import CacheFolder
from imageapi.cache.verdict_files import VerdictFiles
from tests.unit.cache.filling import keep, name_for


def test_reads_at_an_offset(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    file = open_file(str(path), "name", 10)
    assert file is not None
    with closing(file):
        assert file.read(3, 4) == b"3456"
        assert file.read(8, 4) == b"89"
        assert file.is_at(str(path))
        path.unlink()
        assert not file.is_at(str(path))
    file.close()


def test_locks_do_not_wait(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    one, other = (open_file(str(path), "name", 0) for _ in range(2))
    assert one is not None
    assert other is not None
    with closing(one), closing(other):
        assert one.lock(fcntl.LOCK_EX)
        assert not other.lock(fcntl.LOCK_SH)
        assert one.lock(fcntl.LOCK_SH)
        assert other.lock(fcntl.LOCK_SH)
        assert not other.lock(fcntl.LOCK_EX)


def test_opens_no_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(OSError, match="symbolic"):
        open_file(str(tmp_path / "link"), "name", 0)
    assert open_file(str(tmp_path / "absent"), "name", 0) is None
    assert not is_at(str(tmp_path / "absent"), os.stat(tmp_path))


@pytest.mark.parametrize("user", [0, 1000])
def test_what_root_creates_belongs_to_the_owner_of_the_folder(
    cache_folder: CacheFolder, monkeypatch: pytest.MonkeyPatch, user: int
) -> None:
    """The tests may not run as root, so the calls are recorded, and the owner is made up."""
    real_stat = os.stat

    def stat_of_another_owner(path: Any, *args: Any, **options: Any) -> os.stat_result:
        status = real_stat(path, *args, **options)
        if not stat.S_ISDIR(status.st_mode):
            return status
        return os.stat_result((*status[:4], 4711, *status[5:10]))

    given: dict[str, tuple[int, int]] = {}

    def record(descriptor: int, owner: int, group: int) -> None:
        name = os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))
        given[name.partition(".")[0] + os.path.splitext(name)[1]] = (owner, group)

    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(os, "fchown", record)
    monkeypatch.setattr(os, "stat", stat_of_another_owner)
    keep(cache_folder, name_for(1, 5), b"01234")
    VerdictFiles(cache_folder.directory).add(("data",), is_right=True)
    status = os.stat(cache_folder.directory)
    assert set(given.values()) <= {(4711, status.st_gid)}
    kinds = {name for name in given if not name.endswith(".right")}
    assert kinds == (set() if user else {"lock", "verdicts", "sha256.part+", "sha256.ok+"})
    assert len(given) == (0 if user else 5)


def test_owner_that_is_right_is_not_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The filter of system calls in examples/imageapi.service refuses this call."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.delattr(os, "fchown")
    with (tmp_path / "new").open("w") as file:
        give_to_owner(file.fileno(), str(tmp_path))
