# SPDX-License-Identifier: Apache-2.0
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from imageapi.cache.files import CacheFile
from imageapi.cache.folder import CacheFolder
from tests.cached import CachedDeployment
from tests.unit.commands.conftest import Run

DATA = bytes(1000)


@pytest.fixture
def cache_with_two(cached_deployment: CachedDeployment, run: Run) -> CachedDeployment:
    """Two complete files."""
    cached_deployment.add_hashed("i", DATA)
    cached_deployment.add_hashed("right", b"right")
    assert run("cache", "prefetch", "i", "right")[0] == 0
    return cached_deployment


def damage(path: Path) -> None:
    """Change a byte, without a trace in the times."""
    times = path.stat()
    path.write_bytes(b"x" + DATA[1:])
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_right(cache_with_two: CachedDeployment, run: Run) -> None:
    for path in cache_with_two.kept():
        os.utime(f"{path}.ok", (1e9, 1e9))
    assert run("cache", "verify") == (0, "files: 2, problems: 0\n", "")
    assert {os.stat(f"{path}.ok").st_mtime for path in cache_with_two.kept()} == {1e9}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (damage, f"its sha512 is {hashlib.sha512(b'x' + DATA[1:]).hexdigest()}"),
        (lambda path: path.write_bytes(b"12"), "it has 2 bytes, not 1000"),
        (
            lambda path: Path(f"{path}.ok").unlink(),
            "its hash is right, but its verification is not written down, or its times differ",
        ),
    ],
)
def test_wrong_data_is_removed(
    cache_with_two: CachedDeployment, run: Run, change: Callable[[Path], object], problem: str
) -> None:
    name, right = cache_with_two.name_of(DATA), cache_with_two.name_of(b"right")
    change(cache_with_two.cache / name)
    told = f"{name}: {problem}: removed\nfiles: 2, problems: 1\n"
    assert run("cache", "verify") == (1, told, "")
    assert cache_with_two.names() == [right, f"{right}.ok"]


def test_data_that_cannot_be_read_or_removed(
    cache_with_two: CachedDeployment, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> bytes:
        raise OSError(5, os.strerror(5))

    monkeypatch.setattr(CacheFile, "read", refuse)
    monkeypatch.setattr(CacheFolder, "remove_file", lambda *_: None)
    status, out, _ = run("cache", "verify")
    assert status == 1
    told = "cannot be read: Input/output error: it cannot be removed\n"
    assert f"{cache_with_two.name_of(DATA)}: {told}" in out


def test_data_that_is_being_filled_or_completed(cache_with_two: CachedDeployment, run: Run) -> None:
    folder = CacheFolder(str(cache_with_two.cache), 10**9, 0)
    names = [cache_with_two.name_of(data) for data in (b"filling", b"completed")]
    fillings = [folder.fill(name) for name in names]
    os.rename(cache_with_two.cache / f"{names[1]}.part", cache_with_two.cache / names[1])
    assert run("cache", "verify") == (0, "files: 2, problems: 0\n", "")
    for filling in fillings:
        assert filling is not None
        filling.discard()


def test_hash_that_this_python_does_not_have(cache_with_two: CachedDeployment, run: Run) -> None:
    name = f"sha9.{'ab' * 32}.5"
    (cache_with_two.cache / name).write_bytes(b"12345")
    status, out, _ = run("cache", "verify")
    assert status == 1
    assert f"{name}: this Python cannot compute 'sha9'" in out
    assert name in cache_with_two.names()
