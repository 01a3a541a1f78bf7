# SPDX-License-Identifier: Apache-2.0
import errno
import hashlib
import io
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from imageapi.backends.file import writer
from imageapi.backends.file.registry import FileRegistry
from imageapi.backends.file.store import FileStore
from imageapi.backends.file.writer import add_image
from imageapi.backends.upload import HashingReader, UploadError
from imageapi.caller import ANONYMOUS
from imageapi.image import Image
from tests.deployment import Deployment, get

DATA = bytes(range(256)) * 10_000


def put(deployment: Deployment, source: Any, image_id: str = "i", **fields: Any) -> Image:
    api = deployment.api()
    registry, store = api.backends.registry.backend, api.backends.stores[0].backend
    assert isinstance(registry, FileRegistry)
    assert isinstance(store, FileStore)
    image = Image(id=image_id, status="queued", **{"is_public": True, **fields})
    counted: list[int] = []
    added = add_image(registry, store, image, HashingReader(source, counted.append))
    assert sum(counted) == added.size
    assert registry.get(image_id, ANONYMOUS).checksum == added.checksum
    return added


def left_behind(deployment: Deployment) -> list[str]:
    return sorted(os.listdir(deployment.images) + os.listdir(deployment.registry))


@pytest.fixture(params=["unnamed", "named"])
def files(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With unnamed files, and as on a file system that has none."""
    if request.param == "named":
        real = os.open

        def open_without_tmpfile(path: Any, flags: int, *rest: Any, **how: Any) -> int:
            if flags & os.O_TMPFILE == os.O_TMPFILE:
                raise OSError(errno.EOPNOTSUPP, "not here", path)
            return real(path, flags, *rest, **how)

        monkeypatch.setattr(os, "open", open_without_tmpfile)
    return str(request.param)


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("is_public", "umask", "mode"),
    [(True, 0o022, 0o644), (True, 0, 0o666), (False, 0o022, 0o640), (False, 0, 0o640)],
)
@pytest.mark.parametrize("folder_mode", [0o755, 0o777])
def test_private_images_are_not_for_everybody_on_the_machine(
    deployment: Deployment, is_public: bool, umask: int, mode: int, folder_mode: int
) -> None:
    deployment.images.chmod(folder_mode)
    before = os.umask(umask)
    try:
        put(deployment, io.BytesIO(DATA), is_public=is_public)
    finally:
        os.umask(before)
    for path in (deployment.data_path("i"), deployment.record_path("i")):
        assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("image_id", ["i", "..", "a b/c".replace("/", "\u00e9")])
def test_what_was_added_is_served(deployment: Deployment, image_id: str) -> None:
    added = put(deployment, io.BytesIO(DATA), image_id, name="n", properties={"a": "b"})
    assert added.os_hash_value == hashlib.sha512(DATA).hexdigest()
    api = deployment.api()
    request = f"/v1/images/{'%2E%2E' if image_id == '..' else image_id}"
    response = get(api, request.replace(" ", "%20").replace("\u00e9", "%C3%A9"))
    assert response.body == DATA
    assert response.headers["X-Image-Meta-Name"] == "n"
    assert len(left_behind(deployment)) == 2


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("exists", ["data", "record"])
def test_id_that_exists_is_refused(deployment: Deployment, exists: str) -> None:
    path = deployment.data_path("i") if exists == "data" else deployment.record_path("i")
    path.write_bytes(b"before")
    with pytest.raises(UploadError, match="image i exists already"):
        put(deployment, io.BytesIO(DATA))
    assert left_behind(deployment) == [path.name]
    assert path.read_bytes() == b"before"


class Interrupted(io.BytesIO):
    """Fails after its first chunk, after doing something else."""

    def __init__(self, error: BaseException | None, meanwhile: Any = None) -> None:
        super().__init__(DATA)
        self.error = error
        self.meanwhile = meanwhile

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() and self.meanwhile is not None:
            self.meanwhile()
        if self.tell() and self.error is not None:
            raise self.error
        return super().read(size)


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), SystemExit(), OSError(errno.EIO, "Input/output error")]
)
def test_interrupted_it_leaves_nothing(deployment: Deployment, error: BaseException) -> None:
    with pytest.raises((UploadError, type(error))):
        put(deployment, Interrupted(error))
    assert left_behind(deployment) == []


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("which", ["data", "record"])
def test_id_that_appears_meanwhile_is_refused(deployment: Deployment, which: str) -> None:
    path = deployment.data_path("i") if which == "data" else deployment.record_path("i")
    with pytest.raises(UploadError, match="exists already"):
        put(deployment, Interrupted(None, lambda: path.write_bytes(b"other")))
    assert left_behind(deployment) == [path.name]
    assert path.read_bytes() == b"other"


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("call", [1, 2, 3, 4])
def test_any_failing_sync_leaves_nothing(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    calls = []

    def fsync(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == call:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(UploadError, match="No space left on device"):
        put(deployment, io.BytesIO(DATA))
    assert left_behind(deployment) == []


@pytest.mark.usefixtures("files")
def test_interrupted_at_the_very_end_it_keeps_both(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave = writer._NewFile.__exit__

    def interrupted(self: Any, *error: Any) -> None:
        leave(self, *error)
        if self._path == str(deployment.record_path("i")):
            raise KeyboardInterrupt

    monkeypatch.setattr(writer._NewFile, "__exit__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        put(deployment, io.BytesIO(DATA))
    assert left_behind(deployment) == ["i", "i.json"]


@pytest.mark.parametrize("folder", ["images", "registry"])
def test_missing_folder_is_named(deployment: Deployment, folder: str) -> None:
    path: Path = getattr(deployment, folder)
    path.rmdir()
    with pytest.raises(UploadError, match=f"{path}.*: No such file"):
        put(deployment, io.BytesIO(DATA))


def test_short_writes_are_completed(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(io.FileIO):
        def write(self, data: Any, /) -> int:
            return super().write(memoryview(data)[:1000])

    monkeypatch.setattr(writer, "open", lambda fd, mode, buffering: Slow(fd, mode), raising=False)
    put(deployment, io.BytesIO(DATA))
    assert deployment.data_path("i").read_bytes() == DATA
