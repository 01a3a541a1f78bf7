# SPDX-License-Identifier: Apache-2.0
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imageapi.backends.file import folder, store
from imageapi.backends.file.store import FileStore
from imageapi.caller import ANONYMOUS
from imageapi.errors import (
    BackendUnavailable,
    DataChanged,
    DataNotFound,
    LocationRefused,
)
from imageapi.image import Location
from tests.deployment import Deployment
from tests.unit.backends.file.reading import read_file


@pytest.fixture
def read_as_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files too, which else are read when they are opened."""
    monkeypatch.setattr(store, "LARGEST", 0)


class TestStore:
    @pytest.mark.parametrize("image_id", ["i", ".", "..", "a b", "\u00e9", "%2E", "a+b", "a?b#c"])
    def test_locates_data_by_the_images_id(
        self, deployment: Deployment, store: FileStore, image_id: str
    ) -> None:
        deployment.data_path(image_id).write_bytes(b"data")
        blob = store.open(store.locate(image_id), caller=ANONYMOUS)
        assert b"".join(blob) == b"data"
        blob.close()

    @pytest.mark.parametrize("url", ["file:{}", "file://{}", "file://localhost{}", "FILE://{}"])
    def test_spellings_of_a_url(self, deployment: Deployment, store: FileStore, url: str) -> None:
        path = deployment.data_path("i")
        path.write_bytes(b"data")
        blob = store.open(Location(url.format(path)), caller=ANONYMOUS)
        assert b"".join(blob) == b"data"
        blob.close()

    @pytest.mark.parametrize(
        "url", ["file:x", "file://", "file://host/x", "file:///a?b", "file:///a#b", "file:///a%00b"]
    )
    def test_malformed_urls(self, store: FileStore, url: str) -> None:
        with pytest.raises(LocationRefused):
            store.open(Location(url), caller=ANONYMOUS)

    def test_folders_below_its_folder(self, deployment: Deployment, store: FileStore) -> None:
        inner = deployment.images / "a" / "b"
        inner.mkdir(parents=True)
        (inner / "c").write_bytes(b"data")
        assert read_file(store, inner / "c") == b"data"
        assert read_file(store, f"{deployment.images}//a/./b/../b/c") == b"data"

    def test_links_within_its_folder(self, deployment: Deployment, store: FileStore) -> None:
        inner = deployment.images / "a"
        inner.mkdir()
        (inner / "data").write_bytes(b"data")
        (deployment.images / "link").symlink_to(inner / "data")
        (deployment.images / "folder").symlink_to("a")
        assert read_file(store, deployment.images / "link") == b"data"
        assert read_file(store, deployment.images / "folder" / "data") == b"data"

    def test_its_folder_may_be_a_link(self, deployment: Deployment, store: FileStore) -> None:
        real = deployment.folder / "real"
        deployment.images.rename(real)
        deployment.images.symlink_to(real)
        (real / "i").write_bytes(b"data")
        (real / "a").mkdir()
        (real / "a" / "i").write_bytes(b"data")
        assert read_file(store, deployment.images / "i") == b"data"
        assert read_file(store, deployment.images / "a" / "i") == b"data"
        assert read_file(store, real / "i") == b"data"
        with pytest.raises(DataNotFound):
            read_file(store, real / "absent")

    @pytest.mark.parametrize("there", [True, False])
    def test_never_leaves_its_folder(
        self, deployment: Deployment, store: FileStore, there: bool
    ) -> None:
        outside = deployment.folder / "outside"
        beside = deployment.folder / "images-beside"
        beside.mkdir()
        if there:
            outside.write_bytes(b"secret")
            (beside / "x").write_bytes(b"secret")
        for path in (
            outside,
            deployment.images / ".." / "outside",
            f"{deployment.images}/../outside",
            beside / "x",
            deployment.images,
            deployment.images / "..",
            "/",
        ):
            with pytest.raises(LocationRefused):
                read_file(store, path)

    def test_follows_no_link_out_of_its_folder(
        self, deployment: Deployment, store: FileStore
    ) -> None:
        outside = deployment.folder / "outside"
        outside.mkdir()
        (outside / "data").write_bytes(b"secret")
        (deployment.images / "link").symlink_to(outside / "data")
        (deployment.images / "folder").symlink_to(outside)
        (deployment.images / "self").symlink_to("self")
        for path in ("link", "folder/data", "self"):
            with pytest.raises(LocationRefused):
                read_file(store, deployment.images / path)

    def test_follows_no_link_that_is_put_there_while_it_looks(
        self, deployment: Deployment, store: FileStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        outside = deployment.folder / "outside"
        outside.mkdir()
        (outside / "data").write_bytes(b"secret")
        inner = deployment.images / "a"
        inner.mkdir()
        (inner / "data").write_bytes(b"data")
        resolve = os.path.realpath

        def resolve_then_swap(path: str, **how: Any) -> str:
            found = resolve(path, **how)
            if path.endswith("data"):
                inner.rename(deployment.images / "old")
                inner.symlink_to(outside)
            return found

        monkeypatch.setattr(os.path, "realpath", resolve_then_swap)
        with pytest.raises((LocationRefused, DataNotFound)):
            read_file(store, inner / "data")

    def test_opens_regular_files_only_and_never_waits(
        self, deployment: Deployment, store: FileStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # A socket's path may not be as long as the folder's.
        monkeypatch.chdir(deployment.images)
        os.mkfifo("fifo")
        (deployment.images / "folder").mkdir()
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind("socket")
            started = time.monotonic()
            for name in ("fifo", "folder", "socket"):
                with pytest.raises(LocationRefused, match="not a regular file"):
                    read_file(store, deployment.images / name)
        assert time.monotonic() - started < 5

    def test_absent(self, deployment: Deployment, store: FileStore) -> None:
        for name in ("absent", "a/b", "x" * 300):
            with pytest.raises(DataNotFound):
                read_file(store, deployment.images / name)

    def test_missing_folder_is_not_absent_data(
        self, deployment: Deployment, store: FileStore
    ) -> None:
        deployment.images.rmdir()
        with pytest.raises(BackendUnavailable):
            read_file(store, deployment.images / "i")

    def test_version_names_these_bytes(
        self, deployment: Deployment, store: FileStore, settled: None
    ) -> None:
        path = deployment.images / "i"
        path.write_bytes(b"data")
        blob = store.open(Location(f"file://{path}"), caller=ANONYMOUS)
        blob.close()
        assert read_file(store, path, version=blob.version, start=1) == b"ata"
        new = deployment.images / "new"
        new.write_bytes(b"DATA")
        new.rename(path)
        with pytest.raises(DataChanged):
            read_file(store, path, version=blob.version)

    def test_no_version_until_a_change_would_show(
        self, deployment: Deployment, store: FileStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = deployment.images / "i"
        path.write_bytes(b"data")
        location = Location(f"file://{path}")
        blob = store.open(location, caller=ANONYMOUS)
        blob.close()
        assert blob.version is None
        later = time.time_ns() + folder.SETTLED_NS + 1
        monkeypatch.setattr(time, "time_ns", lambda: later)
        blob = store.open(location, caller=ANONYMOUS)
        blob.close()
        assert blob.version is not None

    @pytest.mark.usefixtures("read_as_it_goes")
    @pytest.mark.parametrize("change", [b"DATA", b"da", b"data and more"])
    @pytest.mark.parametrize("is_set_back", [False, True])
    def test_file_rewritten_while_it_is_read(
        self, deployment: Deployment, store: FileStore, change: bytes, is_set_back: bool
    ) -> None:
        path = deployment.images / "i"
        path.write_bytes(b"data")
        os.utime(path, (1, 1))
        blob = store.open(Location(f"file://{path}"), caller=ANONYMOUS)
        path.write_bytes(change)
        if is_set_back:
            os.utime(path, (1, 1))
        with pytest.raises(DataChanged):
            list(blob)
        blob.close()

    def test_file_rewritten_with_its_time_set_back_and_not_removed_yet(
        self, deployment: Deployment
    ) -> None:
        """It is seen at the next read: the loss of its name, which is harmless, would hide it."""
        deployment.configure(core="chunk_size = 2")
        store = deployment.api().backends.stores[0].backend
        path = deployment.images / "i"
        path.write_bytes(b"data")
        os.utime(path, (1, 1))
        time.sleep(0.02)
        blob = store.open(store.locate("i"), caller=ANONYMOUS)
        assert next(blob) == b"da"
        path.write_bytes(b"DATA")
        os.utime(path, (1, 1))
        with pytest.raises(DataChanged):
            next(blob)
        blob.close()

    def test_file_rewritten_with_its_time_set_back_after_it_was_removed(
        self, deployment: Deployment
    ) -> None:
        deployment.configure(core="chunk_size = 2")
        store = deployment.api().backends.stores[0].backend
        path = deployment.images / "i"
        path.write_bytes(b"data, and more")
        os.utime(path, (1, 1))
        time.sleep(0.02)
        with path.open("r+b", buffering=0) as writer:
            blob = store.open(store.locate("i"), caller=ANONYMOUS)
            path.unlink()
            assert next(blob) == b"da"
            writer.write(b"DATA")
            os.utime(writer.fileno(), (1, 1))
            with pytest.raises(DataChanged):
                list(blob)
        blob.close()

    @pytest.mark.usefixtures("read_as_it_goes")
    def test_blob_that_nobody_closed_is_closed_when_it_goes(
        self, deployment: Deployment, store: FileStore
    ) -> None:
        (deployment.images / "i").write_bytes(b"data")
        store.open(store.locate("i"), caller=ANONYMOUS)

    @pytest.mark.usefixtures("read_as_it_goes")
    def test_file_replaced_while_it_is_read_is_read_as_it_was(
        self, deployment: Deployment, store: FileStore
    ) -> None:
        path = deployment.images / "i"
        path.write_bytes(b"data")
        blob = store.open(Location(f"file://{path}"), caller=ANONYMOUS)
        path.unlink()
        path.write_bytes(b"DATA")
        assert b"".join(blob) == b"data"
        blob.close()

    @pytest.mark.usefixtures("read_as_it_goes")
    @pytest.mark.parametrize(
        "change",
        [
            lambda path: path.chmod(0o600),
            lambda path: os.chown(path, os.getuid(), os.getgid()),
            lambda path: os.utime(path),
            lambda path: path.with_name("further").hardlink_to(path),
            lambda path: path.rename(path.with_name("away")),
        ],
        ids=["chmod", "chown", "touch", "link", "move"],
    )
    def test_what_changes_a_files_times_looks_like_a_change(
        self, deployment: Deployment, store: FileStore, change: Callable[[Path], object]
    ) -> None:
        path = deployment.images / "i"
        path.write_bytes(b"data")
        os.utime(path, (1, 1))
        time.sleep(0.02)  # a tick of the clock that gives the ctime
        blob = store.open(Location(f"file://{path}"), caller=ANONYMOUS)
        change(path)
        with pytest.raises(DataChanged):
            list(blob)
        blob.close()

    @pytest.mark.usefixtures("read_as_it_goes")
    @pytest.mark.parametrize("name", ["i", "further"])
    def test_loss_of_a_name_changes_nothing(
        self, deployment: Deployment, store: FileStore, name: str
    ) -> None:
        path = deployment.images / "i"
        path.write_bytes(b"data")
        path.with_name("further").hardlink_to(path)
        time.sleep(0.02)
        blob = store.open(Location(f"file://{path}"), caller=ANONYMOUS)
        path.with_name(name).unlink()
        assert b"".join(blob) == b"data"
        blob.close()

    def test_reads_in_chunks(self, deployment: Deployment) -> None:
        deployment.configure(core="chunk_size = 3")
        store = deployment.api().backends.stores[0].backend
        (deployment.images / "i").write_bytes(b"12345678")
        for start, stop, chunks in (
            (0, None, [b"123", b"456", b"78"]),
            (2, 8, [b"345", b"678"]),
            (2, 7, [b"345", b"67"]),
        ):
            blob = store.open(store.locate("i"), start=start, stop=stop, caller=ANONYMOUS)
            assert list(blob) == chunks
            blob.close()

    def test_check(self, deployment: Deployment, store: FileStore) -> None:
        store.check()
        deployment.images.rmdir()
        deployment.images.write_bytes(b"")
        with pytest.raises(BackendUnavailable, match="Not a directory"):
            store.check()
