# SPDX-License-Identifier: Apache-2.0
import errno
import io
import os
from pathlib import Path
from typing import Any

import pytest

from imageapi.backends.file.store import FileStore
from imageapi.backends.writing import HashingReader, WriteError
from imageapi.caller import ANONYMOUS
from imageapi.errors import BackendUnavailable
from imageapi.image import Image, Location
from tests.deployment import Deployment

DATA = bytes(range(256)) * 10_000


def reader(source: Any = None) -> HashingReader:
    return HashingReader(source or io.BytesIO(DATA), lambda _: None)


def queued_image(image_id: str = "i", **fields: Any) -> Image:
    return Image(id=image_id, status="queued", **{"is_public": True, **fields})


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("image_id", ["i", "..", "ü b"])
def test_first_data_is_where_the_store_looks_for_it(store: FileStore, image_id: str) -> None:
    with store.writer().put(queued_image(image_id), reader(), is_replacement=False) as new:
        new.is_kept = True
    assert new.location is None
    blob = store.open(store.locate(image_id), caller=ANONYMOUS)
    assert b"".join(blob) == DATA
    blob.close()


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("image_id", ["i", "..", "ü b"])
def test_replacement_has_a_name_of_its_own(
    deployment: Deployment, store: FileStore, image_id: str
) -> None:
    deployment.data_path(image_id).write_bytes(b"first")
    writer = store.writer()
    with writer.put(queued_image(image_id), reader(), is_replacement=True) as new:
        new.is_kept = True
    assert new.location is not None
    blob = store.open(new.location, caller=ANONYMOUS)
    assert b"".join(blob) == DATA
    blob.close()
    assert deployment.data_path(image_id).read_bytes() == b"first"
    assert writer.owns(image_id, new.location)
    assert writer.owns(image_id, store.locate(image_id))
    assert not writer.owns("other", new.location)
    writer.remove(new.location)
    writer.remove(new.location)
    assert os.listdir(deployment.images) == [deployment.data_path(image_id).name]


@pytest.mark.parametrize(
    "url", ["file:///elsewhere/i", "file://{}/j", "file://{}/i+1", "file://{}/i2", "http://h/i"]
)
def test_locations_that_are_not_its_own(deployment: Deployment, store: FileStore, url: str) -> None:
    assert not store.writer().owns("i", Location(url.format(deployment.images)))


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("is_replacement", [True, False])
def test_data_that_is_not_kept_goes(
    deployment: Deployment, store: FileStore, is_replacement: bool
) -> None:
    with store.writer().put(queued_image(), reader(), is_replacement=is_replacement):
        assert any(name.startswith("i") for name in os.listdir(deployment.images))
    assert os.listdir(deployment.images) == []


@pytest.mark.usefixtures("files")
def test_data_that_exists_is_not_overwritten(deployment: Deployment, store: FileStore) -> None:
    deployment.data_path("i").write_bytes(b"before")
    told = "/i exists already, without a record of this image: choose another id, or remove"
    with pytest.raises(WriteError, match=told):
        store.writer().put(queued_image(), reader(), is_replacement=False)
    assert deployment.data_path("i").read_bytes() == b"before"


class Broken(io.BytesIO):
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
@pytest.mark.parametrize("is_replacement", [True, False])
@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), SystemExit(), OSError(errno.EIO, "Input/output error")]
)
def test_interrupted_it_leaves_nothing(
    deployment: Deployment, store: FileStore, error: BaseException, is_replacement: bool
) -> None:
    with pytest.raises((WriteError, type(error))):
        store.writer().put(queued_image(), reader(Broken(error)), is_replacement=is_replacement)
    assert os.listdir(deployment.images) == []


@pytest.mark.usefixtures("files")
def test_data_that_appears_meanwhile_stays(deployment: Deployment, store: FileStore) -> None:
    path = deployment.data_path("i")
    source = Broken(None, lambda: path.write_bytes(b"other"))
    with pytest.raises(WriteError, match="exists already"):
        store.writer().put(queued_image(), reader(source), is_replacement=False)
    assert os.listdir(deployment.images) == ["i"]
    assert path.read_bytes() == b"other"


def test_full_disk(deployment: Deployment, store: FileStore, monkeypatch: Any) -> None:
    def fsync(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(WriteError, match=f"{deployment.data_path('i')}: No space left on device"):
        store.writer().put(queued_image(), reader(), is_replacement=False)
    assert os.listdir(deployment.images) == []


def test_folder_that_is_missing(deployment: Deployment, store: FileStore) -> None:
    deployment.images.rmdir()
    with pytest.raises(WriteError, match=f"{deployment.images}: No such file"):
        store.writer().put(queued_image(), reader(), is_replacement=False)
    with pytest.raises(BackendUnavailable, match=f"{deployment.images}: No such file"):
        list(store.writer().leftovers([]))


def test_leftovers(deployment: Deployment, store: FileStore) -> None:
    """Files that no record uses, each with the image whose data its name says that it is."""
    names = ["i", "i+0123456789abcdef", "%C3%BC", ".add+12", "x y", "linked", "used.img"]
    for name in names:
        (deployment.images / name).write_bytes(b"")
    (deployment.images / "folder").mkdir()
    (deployment.images / "link").symlink_to("linked")
    used = [store.locate("i"), Location(f"file://{deployment.images}/used.img")]
    used += [Location(f"file://{deployment.images}/link"), Location("http://h/x")]
    found = {
        Path(one.name).name: (one.image_id, one.location and one.location.url)
        for one in store.writer().leftovers(used)
    }
    at = f"file://{deployment.images}"
    assert found == {
        ".add+12": (None, None),
        "i+0123456789abcdef": ("i", f"{at}/i+0123456789abcdef"),
        "%C3%BC": ("ü", f"{at}/%25C3%25BC"),
        "x y": (None, f"{at}/x%20y"),
    }
