# SPDX-License-Identifier: Apache-2.0
import json
import os
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from imageapi.cache import folder as folder_module
from imageapi.cache.files import open_file
from imageapi.cache.folder import CacheFolder
from imageapi.errors import BackendUnavailable
from tests.unit.cache.filling import begun, keep, name_for

NAME = name_for(1, 5)


def kept_bytes(folder: CacheFolder, name: str) -> bytes | None:
    file = folder.open_kept(name)
    if file is None:
        return None
    with closing(file):
        return file.read(0, 100)


def test_only_one_fills(cache_folder: CacheFolder) -> None:
    other = CacheFolder(cache_folder.directory, 1000, 0)
    filling = begun(cache_folder, NAME)
    assert other.fill(NAME) is None
    filling.write(b"01234")
    assert other.open_kept(NAME) is None
    filling.keep()
    assert other.fill(NAME) is None
    assert kept_bytes(other, NAME) == b"01234"


def test_readers_and_a_filler_at_the_same_moment(cache_folder: CacheFolder) -> None:
    """A reader that tests the lock never takes it from the filler."""
    is_done = threading.Event()

    def look() -> None:
        while not is_done.is_set():
            file = cache_folder.open_filling(NAME)
            if file is not None:
                file.close()

    readers = [threading.Thread(target=look) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(2000):
            begun(cache_folder, NAME).discard()
    finally:
        is_done.set()
        for reader in readers:
            reader.join()


def test_a_reader_follows(cache_folder: CacheFolder) -> None:
    assert cache_folder.open_filling(NAME) is None
    filling = begun(cache_folder, NAME)
    file = cache_folder.open_filling(NAME)
    assert file is not None
    with closing(file):
        filling.write(b"012")
        assert file.read(0, 9) == b"012"
        assert not cache_folder.is_complete(file)
        filling.write(b"34")
        filling.keep()
        assert cache_folder.is_complete(file)


def test_what_is_discarded_leaves_nothing(cache_folder: CacheFolder) -> None:
    filling = begun(cache_folder, NAME)
    filling.write(b"0")
    filling.discard()
    filling.discard()
    assert os.listdir(cache_folder.directory) == ["lock"]
    keep(cache_folder, NAME, b"01234")


def test_discarding_leaves_the_file_of_another_filler(cache_folder: CacheFolder) -> None:
    old = begun(cache_folder, NAME)
    os.unlink(f"{cache_folder.path(NAME)}.part")
    new = begun(cache_folder, NAME)
    old.discard()
    new.write(b"01234")
    new.keep()
    assert kept_bytes(cache_folder, NAME) == b"01234"


def test_a_file_that_was_removed_is_not_kept(cache_folder: CacheFolder) -> None:
    filling = begun(cache_folder, NAME)
    os.unlink(f"{cache_folder.path(NAME)}.part")
    with pytest.raises(FileNotFoundError):
        filling.keep()
    assert cache_folder.entries() == []


def test_data_of_another_size_than_its_name_says_is_removed(cache_folder: CacheFolder) -> None:
    keep(cache_folder, NAME, b"0123")
    assert kept_bytes(cache_folder, NAME) is None
    assert cache_folder.entries() == []


def test_the_last_use_is_written_down(
    cache_folder: CacheFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(cache_folder, NAME, b"01234")
    signature = Path(f"{cache_folder.path(NAME)}.ok")
    os.utime(signature, (1, 1))
    assert kept_bytes(cache_folder, NAME)
    assert signature.stat().st_mtime > 1
    os.utime(signature, (1, 1))
    assert kept_bytes(cache_folder, NAME)
    assert signature.stat().st_mtime == 1
    monkeypatch.setattr(folder_module, "_USE_SECONDS", -1.0)
    assert kept_bytes(cache_folder, NAME)
    assert signature.stat().st_mtime > time.time() - 3600


def test_a_signature_is_read_again_after_a_new_fill(cache_folder: CacheFolder) -> None:
    keep(cache_folder, NAME, b"01234")
    assert kept_bytes(cache_folder, NAME)
    (entry,) = cache_folder.entries()
    cache_folder.remove(entry)
    keep(CacheFolder(cache_folder.directory, 1000, 0), NAME, b"56789")
    assert kept_bytes(cache_folder, NAME) == b"56789"


def test_a_forged_signature_is_no_signature(cache_folder: CacheFolder) -> None:
    keep(cache_folder, NAME, b"01234")
    for text in ("", "{}", "null", json.dumps([1, 2]), json.dumps(["x"] * 5), "[1,2,3,4,5]"):
        other = CacheFolder(cache_folder.directory, 1000, 0)
        Path(f"{cache_folder.path(NAME)}.ok").write_text(text)
        assert kept_bytes(other, NAME) is None
        keep(cache_folder, NAME, b"01234")


def test_remove(cache_folder: CacheFolder) -> None:
    keep(cache_folder, NAME, b"01234")
    filling = begun(cache_folder, name_for(2, 9))
    entries = cache_folder.entries()
    removed = [cache_folder.remove(entry) for entry in entries if entry.is_complete]
    kept = [cache_folder.remove(entry) for entry in entries if not entry.is_complete]
    assert (removed, kept) == ([True], [False])
    (entry,) = cache_folder.entries()
    filling.discard()
    assert not cache_folder.remove(entry)
    Path(cache_folder.path(entry.file_name)).touch()  # of a process that was killed
    assert cache_folder.remove(entry)
    assert cache_folder.entries() == []


def test_prune(cache_folder: CacheFolder) -> None:
    keep(cache_folder, NAME, b"01234")
    keep(cache_folder, name_for(2, 900), bytes(900))
    os.utime(f"{cache_folder.path(NAME)}.ok", (1, 1))
    assert cache_folder.prune() == ()
    smaller = CacheFolder(cache_folder.directory, 902, 0)
    assert [entry.name for entry in smaller.prune()] == [NAME]
    assert [entry.size for entry in smaller.entries()] == [900]


def test_verification_that_is_not_written_down(cache_folder: CacheFolder) -> None:
    keep(cache_folder, NAME, b"01234")
    file = open_file(cache_folder.path(NAME), NAME, 5)
    assert file is not None
    with closing(file):
        assert cache_folder.is_verified(file)
        os.utime(cache_folder.path(NAME), (1, 1))
        assert not cache_folder.is_verified(file)


def test_check(cache_folder: CacheFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(cache_folder, NAME, b"01234")
    assert "5 of 1000 bytes" in cache_folder.check()
    with pytest.raises(BackendUnavailable, match="No such file"):
        CacheFolder(f"{cache_folder.directory}/absent", 1000, 0).check()
    monkeypatch.setattr(folder_module, "file_system_of", lambda directory: "nfs4")
    with pytest.raises(BackendUnavailable, match=r"nfs4.*use a local file system"):
        cache_folder.check()
