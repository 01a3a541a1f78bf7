# SPDX-License-Identifier: Apache-2.0
import os
import threading
from pathlib import Path

import pytest

from imageapi.cache import blobs
from imageapi.cache.blobs import CachedBlob, FollowingBlob, KeptBlob
from imageapi.cache.folder import CacheFolder, Filling
from imageapi.errors import BackendUnavailable
from tests.cached import chunks_of
from tests.unit.cache.filling import begun, keep, name_for

DATA = os.urandom(200_000)
NAME = name_for(1, len(DATA))


@pytest.fixture
def large_folder(tmp_path: Path) -> CacheFolder:
    return CacheFolder(str(tmp_path), max_size=10**9, min_free=0)


def blob_of_kept(folder: CacheFolder, start: int = 0, stop: int | None = None) -> KeptBlob:
    file = folder.open_kept(NAME)
    assert file is not None
    return KeptBlob(file, start, stop, 65536)


def following(folder: CacheFolder, start: int = 0, stop: int | None = None) -> FollowingBlob:
    file = folder.open_filling(NAME)
    assert file is not None
    return FollowingBlob(folder, file, start, stop, 65536, is_first=False)


@pytest.mark.parametrize(
    ("start", "stop"),
    [(0, None), (5, None), (5, 6), (199_999, None), (0, 10**9), (200_000, None), (10**9, None)],
)
def test_parts(large_folder: CacheFolder, start: int, stop: int | None) -> None:
    keep(large_folder, NAME, DATA)
    assert chunks_of(blob_of_kept(large_folder, start, stop)) == DATA[start:stop]
    assert chunks_of(following(large_folder, start, stop)) == DATA[start:stop]


def test_chunks_have_the_preferred_size(large_folder: CacheFolder) -> None:
    keep(large_folder, NAME, DATA)
    blob = blob_of_kept(large_folder)
    assert len(next(blob)) == 65536
    blob.preferred_chunk_size = 100_000
    assert len(next(blob)) == 100_000
    blob.close()
    blob.close()


def from_file(blob: CachedBlob, limit: int) -> bytes:
    """All bytes that can be sent from the file, without a wait."""
    sent = b""

    def send(descriptor: int, position: int, count: int) -> int:
        nonlocal sent
        assert 0 < count <= limit
        sent += os.pread(descriptor, count, position)
        return count

    while blob.send_file(send, limit):
        pass
    return sent


@pytest.mark.parametrize(("start", "stop"), [(0, None), (5, 6), (5, 7), (200_000, None)])
def test_all_but_the_last_byte_is_sent_from_the_file(
    large_folder: CacheFolder, start: int, stop: int | None
) -> None:
    keep(large_folder, NAME, DATA)
    for blob in (blob_of_kept(large_folder, start, stop), following(large_folder, start, stop)):
        wanted = DATA[start:stop]
        assert from_file(blob, 70_000) == wanted[:-1]
        assert chunks_of(blob) == wanted[-1:]


def test_what_is_filled_is_sent_from_the_file(large_folder: CacheFolder) -> None:
    filling = begun(large_folder, NAME)
    blob = following(large_folder)
    assert from_file(blob, 70_000) == b""
    filling.write(DATA[:1000])
    assert from_file(blob, 70_000) == DATA[:1000]
    filling.write(DATA[1000:])
    assert from_file(blob, 70_000) == DATA[1000 : -blobs.HELD_BACK]
    filling.keep()
    assert from_file(blob, 70_000) == DATA[-blobs.HELD_BACK : -1]
    assert chunks_of(blob) == DATA[-1:]


def test_a_file_that_was_changed_after_it_was_sent_is_noticed(
    large_folder: CacheFolder, tmp_path: Path
) -> None:
    keep(large_folder, NAME, DATA)
    blob = blob_of_kept(large_folder)
    from_file(blob, 70_000)
    os.utime(tmp_path / NAME, ns=(1, 1))
    with pytest.raises(BackendUnavailable, match="the file was changed"):
        next(blob)
    blob.close()


def test_nothing_is_sent_from_a_file_that_is_not_filled_any_more(
    large_folder: CacheFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blobs, "_DOUBT_SECONDS", -1)
    filling = begun(large_folder, NAME)
    blob = following(large_folder)
    filling.discard()
    assert from_file(blob, 70_000) == b""
    with pytest.raises(BackendUnavailable, match="has stopped"):
        next(blob)
    blob.close()


def test_the_end_is_held_back(large_folder: CacheFolder) -> None:
    filling = begun(large_folder, NAME)
    blob = following(large_folder)
    assert blob.awaits_data
    filling.write(DATA)
    held = len(DATA) - blobs.HELD_BACK
    received = b""
    while not blob.awaits_data:
        received += next(blob)
    assert received == DATA[:held]
    filling.keep()
    assert not blob.awaits_data
    assert received + chunks_of(blob) == DATA


def test_a_thread_waits_for_data(large_folder: CacheFolder) -> None:
    filling = begun(large_folder, NAME)
    blob = following(large_folder)

    def fill() -> None:
        for begin in range(0, len(DATA), 50_000):
            filling.write(DATA[begin : begin + 50_000])
        filling.keep()

    later = threading.Timer(0.1, fill)
    later.start()
    assert chunks_of(blob) == DATA
    later.join()


@pytest.mark.parametrize("end", [Filling.discard, Filling._close])
def test_the_filler_is_gone(large_folder: CacheFolder, end: object) -> None:
    filling = begun(large_folder, NAME)
    filling.write(DATA[:1000])
    blob = following(large_folder)
    assert next(blob) == DATA[:1000]
    assert blob.awaits_data
    assert callable(end)
    end(filling)
    with pytest.raises(BackendUnavailable, match="has stopped"):
        next(blob)
    assert not blob.awaits_data
    assert b"".join(blob.first_bytes(900)) == DATA[:900]
    with pytest.raises(BackendUnavailable, match="truncated"):
        list(blob.first_bytes(1001))
    blob.close()
    assert os.listdir(large_folder.directory) == ["lock"]


def test_a_change_of_complete_data_is_noticed(large_folder: CacheFolder) -> None:
    keep(large_folder, NAME, DATA)
    path = large_folder.path(NAME)
    blob = blob_of_kept(large_folder)
    next(blob)
    os.utime(path)
    with pytest.raises(BackendUnavailable, match="changed"):
        next(blob)
    blob.close()
    follower = following(large_folder)
    os.truncate(path, 0)
    with pytest.raises(BackendUnavailable):
        chunks_of(follower)
