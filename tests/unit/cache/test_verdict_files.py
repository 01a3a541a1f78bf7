# SPDX-License-Identifier: Apache-2.0
import os
from pathlib import Path

import pytest

from imageapi.cache import verdict_files
from imageapi.cache.verdict_files import VerdictFiles

DATA = ("store", "http://host/\udcff", '"etag"', "sha512", "ab")


def test_verdicts_are_shared(tmp_path: Path) -> None:
    one, other = VerdictFiles(str(tmp_path)), VerdictFiles(str(tmp_path))
    assert one.is_right(DATA, 60) is None
    one.add(DATA, is_right=True)
    assert other.is_right(DATA, 60) is True
    assert other.is_right((*DATA[:4], "ac"), 60) is None
    other.add(DATA, is_right=False)
    assert one.is_right(DATA, 60) is False
    one.add(DATA, is_right=True)
    assert other.is_right(DATA, 60) is True


def test_wrong_data_is_known_for_a_time(tmp_path: Path) -> None:
    files = VerdictFiles(str(tmp_path))
    files.add(DATA, is_right=False)
    (path,) = (tmp_path / "verdicts").iterdir()
    assert files.is_right(DATA, 60) is False
    os.utime(path, (1, 1))
    assert files.is_right(DATA, 60) is None


def test_the_number_of_files_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdict_files, "_MOST_FILES", 10)
    monkeypatch.setattr(verdict_files, "_BETWEEN_COUNTS", 1)
    files = VerdictFiles(str(tmp_path))
    for number in range(40):
        files.add((str(number),), is_right=True)
        (new,) = set((tmp_path / "verdicts").iterdir()) & {
            Path(files._path((str(number),)) + ".right")
        }
        os.utime(new, (number, number))
        assert len(list((tmp_path / "verdicts").iterdir())) <= 12
    assert files.is_right(("39",), 60)
    assert files.is_right(("0",), 60) is None


def test_a_folder_that_cannot_be_used_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "verdicts").touch()
    files = VerdictFiles(str(tmp_path))
    files.add(DATA, is_right=True)
    assert files.is_right(DATA, 60) is None
