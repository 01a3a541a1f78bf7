# SPDX-License-Identifier: Apache-2.0
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from imageapi.backends.base import Blob
from imageapi.cache.blobs import CachedBlob, FollowingBlob, KeptBlob
from imageapi.cache.folder import CacheFolder
from imageapi.download.sent_bytes import hash_sent_bytes, version_of_sent_bytes
from imageapi.errors import BackendUnavailable, DataChanged, ForeignError
from tests.unit.cache.filling import begun, name_for
from tests.unit.download.test_verified_stream import Chunks

DATA = b"0123456789"
NAME = name_for(1, len(DATA))


@pytest.fixture
def followed(tmp_path: Path) -> Iterator[CachedBlob]:
    """Data of which eight bytes are there."""
    folder = CacheFolder(str(tmp_path), 1000, 0)
    filling = begun(folder, NAME)
    filling.write(DATA[:8])
    file = folder.open_filling(NAME)
    assert file is not None
    blob = FollowingBlob(folder, file, 0, None, 4, is_first=False)
    yield blob
    blob.close()
    filling.discard()


@pytest.fixture
def damaged(tmp_path: Path) -> Iterator[CachedBlob]:
    """Complete data whose file was truncated."""
    folder = CacheFolder(str(tmp_path), 1000, 0)
    filling = begun(folder, NAME)
    filling.write(DATA)
    filling.keep()
    file = folder.open_kept(NAME)
    assert file is not None
    os.truncate(folder.path(NAME), 0)
    blob = KeptBlob(file, 0, None, 4)
    yield blob
    blob.close()


class Origin:
    """Opens chunks; remembers how."""

    def __init__(self, *chunks: bytes | Exception, version: str | None = "1") -> None:
        self.blob = Chunks(*chunks, version=version)
        self.opened: list[tuple[int, str | None]] = []

    def __call__(self, start: int, version: str | None) -> Blob:
        self.opened.append((start, version))
        return self.blob


def test_hashes_what_was_sent_from_the_file(followed: CachedBlob) -> None:
    hasher, origin = hashlib.md5(), Origin()
    hash_sent_bytes(hasher, followed, 7, origin, "the store")
    assert hasher.hexdigest() == hashlib.md5(DATA[:7]).hexdigest()
    assert origin.opened == []
    with pytest.raises(BackendUnavailable):
        hash_sent_bytes(hasher, followed, 9, origin, "the store")


def test_hashes_the_origin_in_place_of_a_damaged_file(damaged: CachedBlob) -> None:
    hasher, origin = hashlib.md5(), Origin(DATA[:4], DATA[4:])
    hash_sent_bytes(hasher, damaged, 7, origin, "the store")
    assert hasher.hexdigest() == hashlib.md5(DATA[:7]).hexdigest()
    assert origin.opened == [(0, None)]
    assert origin.blob.closed


def test_nothing_was_sent(damaged: CachedBlob) -> None:
    origin = Origin()
    hash_sent_bytes(hashlib.md5(), damaged, 0, origin, "the store")
    assert origin.opened == []


def test_a_bug_of_the_origin_is_named(damaged: CachedBlob) -> None:
    with pytest.raises(ForeignError, match="the store raised KeyError"):
        hash_sent_bytes(hashlib.md5(), damaged, 5, Origin(KeyError("x")), "the store")


def test_the_version_that_has_the_sent_bytes(followed: CachedBlob) -> None:
    origin = Origin(DATA[2:5], DATA[5:9], version="7")
    assert version_of_sent_bytes((2, 8), followed, origin, "the store") == "7"
    assert origin.opened == [(2, None)]
    assert origin.blob.closed


@pytest.mark.parametrize(
    "origin",
    [
        Origin(DATA[2:5], b"x" + DATA[6:]),
        Origin(DATA[2:5]),
        Origin(DATA[2:], version=None),
        Origin(b"x" + DATA[3:]),
    ],
)
def test_other_bytes_are_another_version(followed: CachedBlob, origin: Origin) -> None:
    with pytest.raises(DataChanged):
        version_of_sent_bytes((2, 8), followed, origin, "the store")
    assert origin.blob.closed
