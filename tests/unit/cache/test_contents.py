# SPDX-License-Identifier: Apache-2.0
import os
from contextlib import closing
from pathlib import Path

import pytest

from imageapi.cache.contents import (
    entries_of,
    is_locked,
    make_room,
    remove_leftovers,
    unlink,
)
from imageapi.cache.folder import CacheFolder
from tests.unit.cache.filling import begun, keep, name_for

A, B, C = (name_for(number, 100) for number in range(3))


@pytest.fixture
def of_three(cache_folder: CacheFolder) -> CacheFolder:
    """A folder with three data of 100 bytes; A was used first, and C last."""
    for number, name in enumerate((A, B, C), 1):
        keep(cache_folder, name, bytes(100))
        os.utime(f"{cache_folder.path(name)}.ok", (number, number))
    return cache_folder


def entry_names(folder: CacheFolder) -> list[str]:
    return [entry.name for entry in entries_of(folder.directory)]


def room(folder: CacheFolder, size: int, *, max_size: int, min_free: int = 0) -> list[str] | None:
    removed = make_room(folder.directory, size, max_size=max_size, min_free=min_free)
    return None if removed is None else [entry.name for entry in removed]


def test_entries_are_ordered_by_their_last_use(of_three: CacheFolder) -> None:
    (Path(of_three.directory) / "other").touch()
    assert [(entry.name, entry.last_use) for entry in of_three.entries()] == [
        (A, 1),
        (B, 2),
        (C, 3),
    ]
    assert all(entry.size == 100 and entry.is_complete for entry in of_three.entries())


def test_what_is_filled_takes_its_whole_size(of_three: CacheFolder) -> None:
    filling = begun(of_three, name_for(9, 500))
    try:
        assert room(of_three, 100, max_size=900) == []
        assert room(of_three, 101, max_size=900) == [A]
        # What is filled is never removed.
        assert room(of_three, 401, max_size=900) is None
        assert entry_names(of_three)[:2] == [B, C]
    finally:
        filling.discard()


def test_removes_what_was_used_least_recently(of_three: CacheFolder) -> None:
    assert room(of_three, 100, max_size=400) == []
    assert room(of_three, 101, max_size=400) == [A]
    assert room(of_three, 400, max_size=400) == [B, C]
    assert os.listdir(of_three.directory) == ["lock"]


def test_removes_nothing_if_that_does_not_suffice(of_three: CacheFolder) -> None:
    assert room(of_three, 401, max_size=400) is None
    file = of_three.open_kept(B)
    assert file is not None
    with closing(file):
        assert room(of_three, 301, max_size=400) is None
        assert entry_names(of_three) == [A, C, B] or entry_names(of_three) == [A, B, C]
        assert room(of_three, 300, max_size=400) == [A, C]


def test_leaves_space_on_the_file_system(of_three: CacheFolder) -> None:
    system = os.statvfs(of_three.directory)
    free = system.f_bavail * system.f_frsize
    assert room(of_three, 0, max_size=1000, min_free=2 * free) is None
    assert room(of_three, 0, max_size=1000, min_free=free // 2) == []


def test_leftovers(of_three: CacheFolder) -> None:
    folder = Path(of_three.directory)
    filling = begun(of_three, name_for(9, 5))
    left = [f"{name_for(8, 5)}.part", f"{name_for(7, 5)}.ok", f"{A}.ok+", f"{A}.part+"]
    for name in left:
        (folder / name).touch()
    (folder / "other").touch()
    remove_leftovers(of_three.directory)
    # A signature that is being written belongs to data that is there.
    assert {name for name in left if (folder / name).exists()} == {f"{A}.ok+"}
    assert (folder / "other").exists()
    assert len(of_three.entries()) == 4
    filling.discard()


def test_unlink_removes_the_signature_too(of_three: CacheFolder) -> None:
    for entry in of_three.entries():
        unlink(of_three.directory, entry)
        unlink(of_three.directory, entry)
    assert os.listdir(of_three.directory) == ["lock"]


def test_is_locked(of_three: CacheFolder) -> None:
    filling = begun(of_three, name_for(9, 5))
    part = f"{of_three.path(filling.name)}.part"
    assert is_locked(part)
    filling.discard()
    assert not is_locked(part)
    assert not is_locked(of_three.path(A))
