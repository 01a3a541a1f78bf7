# SPDX-License-Identifier: Apache-2.0
import fcntl
import os
from contextlib import closing
from pathlib import Path

import pytest

from imageapi.cache.files import is_at, open_file


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
