# SPDX-License-Identifier: Apache-2.0
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from imageapi.backends.file import folder, small_file_cache
from imageapi.backends.file.folder import StatSignature
from imageapi.backends.file.small_file_cache import LARGEST, SmallFile, SmallFiles
from imageapi.backends.file.store import FileStore
from imageapi.caller import ANONYMOUS
from imageapi.errors import BackendError, DataChanged
from imageapi.image import Location
from tests.deployment import Deployment
from tests.unit.backends.file.reading import read_file


@pytest.fixture
def kept(deployment: Deployment, store: FileStore, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that the store has in memory."""
    path = deployment.images / "i"
    path.write_bytes(b"data")
    later = time.time_ns() + 2 * folder.SETTLED_NS
    monkeypatch.setattr(time, "time_ns", lambda: later)
    assert read_file(store, path) == b"data"
    return path


def forbid_opening(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_kwargs: object) -> int:
        raise PermissionError(1, "was opened", "i")

    monkeypatch.setattr(os, "open", refuse)


def replaced_by_a_link_to_itself(path: Path) -> None:
    path.symlink_to(path.rename(path.parents[1] / "outside"))


def rewritten_with_its_time_set_back(path: Path) -> None:
    before = path.stat()
    time.sleep(0.02)  # a tick of the clock that gives the ctime
    path.write_bytes(b"DATA")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_is_read_once(store: FileStore, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forbid_opening(monkeypatch)
    assert read_file(store, kept) == b"data"
    blob = store.open(Location(kept.as_uri()), start=1, stop=3, caller=ANONYMOUS)
    assert (blob.total_size, list(blob)) == (4, [b"at"])
    assert read_file(store, kept, version=blob.version) == b"data"


@pytest.mark.parametrize("stop", [None, 9])
def test_has_nothing_past_its_end(store: FileStore, kept: Path, stop: int | None) -> None:
    blob = store.open(Location(kept.as_uri()), start=7, stop=stop, caller=ANONYMOUS)
    assert list(blob) == []


def test_is_gone_from_a_blob_that_was_closed(store: FileStore, kept: Path) -> None:
    blob = store.open(Location(kept.as_uri()), caller=ANONYMOUS)
    blob.close()
    assert list(blob) == []


@pytest.mark.parametrize(
    ("change", "then"),
    [
        (lambda path: path.write_bytes(b"other"), b"other"),
        (rewritten_with_its_time_set_back, b"DATA"),
        (lambda path: path.unlink(), None),
        (lambda path: (path.unlink(), path.write_bytes(b"next")), b"next"),
        (replaced_by_a_link_to_itself, None),
        (lambda path: (path.unlink(), path.mkdir()), None),
    ],
    ids=["rewritten", "time set back", "removed", "replaced", "link out", "folder"],
)
def test_is_that_of_now(
    store: FileStore, kept: Path, change: Callable[[Path], object], then: bytes | None
) -> None:
    change(kept)
    if then is None:
        with pytest.raises(BackendError):
            read_file(store, kept)
    else:
        assert read_file(store, kept) == then


def test_is_not_kept_for_another_version(store: FileStore, kept: Path) -> None:
    with pytest.raises(DataChanged):
        read_file(store, kept, version="another")


def test_is_not_kept_before_a_change_would_show(
    deployment: Deployment, store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = deployment.images / "i"
    path.write_bytes(b"data")
    assert read_file(store, path) == b"data"
    forbid_opening(monkeypatch)
    with pytest.raises(BackendError, match="was opened"):
        read_file(store, path)


@pytest.mark.usefixtures("kept")
def test_is_not_kept_where_it_lost_a_name_meanwhile(
    deployment: Deployment, store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change just now may not show in its times yet."""
    path, further = deployment.images / "j", deployment.images / "further"
    path.write_bytes(b"data")
    further.hardlink_to(path)
    time.sleep(0.02)  # a tick of the clock that gives the ctime
    read_bytes = os.read

    def lose_a_name(descriptor: int, size: int) -> bytes:
        further.unlink(missing_ok=True)
        return read_bytes(descriptor, size)

    monkeypatch.setattr(os, "read", lose_a_name)
    assert read_file(store, path) == b"data"
    forbid_opening(monkeypatch)
    with pytest.raises(BackendError, match="was opened"):
        read_file(store, path)


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("name", ["inner/i", "link"])
def test_is_not_kept_further_down(deployment: Deployment, store: FileStore, name: str) -> None:
    """The inner folder is replaced by a link. The times of the file do not show it."""
    inner = deployment.images / "inner"
    inner.mkdir()
    (inner / "i").write_bytes(b"data")
    (deployment.images / "link").symlink_to("inner/i")
    assert read_file(store, deployment.images / name) == b"data"
    inner.symlink_to(inner.rename(deployment.folder / "outside"))
    with pytest.raises(BackendError, match="is not below"):
        read_file(store, deployment.images / name)


@pytest.mark.parametrize(
    ("size", "chunk_size", "is_kept"),
    [
        (LARGEST, LARGEST + 1, True),
        (LARGEST + 1, LARGEST + 1, False),
        (1000, 1000, True),
        (1001, 1000, False),
    ],
)
def test_is_kept_up_to_a_size(
    deployment: Deployment,
    monkeypatch: pytest.MonkeyPatch,
    size: int,
    chunk_size: int,
    is_kept: bool,
) -> None:
    deployment.configure(core=f"chunk_size = {chunk_size}")
    store = deployment.api().backends.stores[0].backend
    assert isinstance(store, FileStore)
    path = deployment.images / "i"
    path.write_bytes(bytes(size))
    later = time.time_ns() + 2 * folder.SETTLED_NS
    monkeypatch.setattr(time, "time_ns", lambda: later)
    assert read_file(store, path) == bytes(size)
    forbid_opening(monkeypatch)
    if is_kept:
        assert read_file(store, path) == bytes(size)
    else:
        with pytest.raises(BackendError, match="was opened"):
            read_file(store, path)


def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_file_cache, "_REMEMBERED_BYTES", 10_000)
    files = SmallFiles()
    paths = [tmp_path / str(number) for number in range(9)]
    for path in paths:
        path.write_bytes(b"data")
        files.keep(str(path), SmallFile(StatSignature.of(path.stat()), "v", bytes(3000)))
    assert [files.get(str(path)) is not None for path in paths] == [False] * 7 + [True] * 2
    files.keep("larger than all", SmallFile(StatSignature.of(tmp_path.stat()), "v", bytes(10_000)))
    assert files.get(str(paths[-1])) is not None
