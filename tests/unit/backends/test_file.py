# SPDX-License-Identifier: Apache-2.0
import contextlib
import json
import os
import socket
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from imageapi import document
from imageapi.backends import file, folder
from imageapi.backends.base import Backend
from imageapi.backends.file import FileRegistry, FileStore
from imageapi.caller import ANONYMOUS
from imageapi.errors import (
    BackendUnavailable,
    ConfigurationError,
    DataChanged,
    DataNotFound,
    ImageNotFound,
    LocationRefused,
    MalformedImage,
)
from imageapi.image import Image, Location
from imageapi.testing.suite import build
from tests.deployment import Deployment


@pytest.fixture
def registry(deployment: Deployment) -> FileRegistry:
    registry = deployment.api().backends.registry.backend
    assert isinstance(registry, FileRegistry)
    return registry


def read(store: FileStore, path: Path | str, **wanted: Any) -> bytes:
    blob = store.open(Location(f"file://{quote(str(path))}"), caller=ANONYMOUS, **wanted)
    try:
        return b"".join(blob)
    finally:
        blob.close()


@pytest.fixture
def read_as_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files too, which else are read when they are opened."""
    monkeypatch.setattr(file, "LARGEST", 0)


@pytest.fixture(autouse=True)
def no_descriptor_is_left() -> Iterator[None]:
    before = os.listdir("/proc/self/fd")
    yield
    assert len(os.listdir("/proc/self/fd")) == len(before)


@pytest.mark.parametrize("backend", [FileRegistry, FileStore])
def test_directory_that_no_system_can_have(backend: type[Backend]) -> None:
    with pytest.raises(ConfigurationError, match=r"^directory: must not hold a NUL$"):
        build(backend, directory="/a\0b")


class TestRegistry:
    @pytest.mark.parametrize("image_id", ["i", ".", "..", "a b", "\u00e9", "a.json", "-", "%"])
    def test_finds_records(
        self, deployment: Deployment, registry: FileRegistry, image_id: str
    ) -> None:
        deployment.record(image_id, name="found")
        assert registry.get(image_id, ANONYMOUS).name == "found"

    @pytest.mark.parametrize("image_id", ["absent", "x" * 300, ".", "..", "a.json"])
    def test_absent(self, registry: FileRegistry, image_id: str) -> None:
        with pytest.raises(ImageNotFound):
            registry.get(image_id, ANONYMOUS)

    def test_missing_folder_is_not_an_absent_image(
        self, deployment: Deployment, registry: FileRegistry
    ) -> None:
        deployment.registry.rmdir()
        with pytest.raises(BackendUnavailable, match="No such file"):
            registry.get("i", ANONYMOUS)

    @pytest.mark.parametrize("settled_ns", [-1, folder.SETTLED_NS])
    def test_changed_record_is_seen_at_the_next_request(
        self,
        deployment: Deployment,
        registry: FileRegistry,
        monkeypatch: pytest.MonkeyPatch,
        settled_ns: int,
    ) -> None:
        monkeypatch.setattr(folder, "SETTLED_NS", settled_ns)
        deployment.record("i", name="a")
        path = deployment.record_path("i")
        assert registry.get("i", ANONYMOUS).name == "a"
        new = path.with_name("new")
        new.write_text(path.read_text().replace('"a"', '"b"'))
        new.rename(path)
        assert registry.get("i", ANONYMOUS).name == "b"
        path.unlink()
        with pytest.raises(ImageNotFound):
            registry.get("i", ANONYMOUS)

    def test_record_rewritten_within_a_clock_tick_is_seen(
        self, deployment: Deployment, registry: FileRegistry
    ) -> None:
        for name in "abcdefgh":
            deployment.record("i", name=name)
            assert registry.get("i", ANONYMOUS).name == name

    def test_parses_a_settled_record_once(
        self, deployment: Deployment, registry: FileRegistry, settled: None
    ) -> None:
        deployment.record("i")
        assert registry.get("i", ANONYMOUS) is registry.get("i", ANONYMOUS)

    def test_remembers_in_bounded_memory(
        self,
        deployment: Deployment,
        registry: FileRegistry,
        settled: None,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        reads = []
        parse = document.parse

        def counted(data: bytes, image_id: str) -> Image:
            reads.append(image_id)
            return parse(data, image_id)

        monkeypatch.setattr(document, "parse", counted)
        ids = [f"i{number}" for number in range(20)]
        for image_id in ids:
            deployment.record(image_id, properties={"filler": "x" * 1_000_000})
        for image_id in ids + ids:
            registry.get(image_id, ANONYMOUS)
        assert len(reads) == 40
        registry.get(ids[-1], ANONYMOUS)
        assert len(reads) == 40

    @pytest.mark.parametrize(
        "fields",
        [
            {"properties": {"p": [{}] * 300}},
            {"properties": {"p": [{"": {}}] * 100}},
            {"properties": {"p": [[[[[[[]]]]]]] * 60}},
            {"properties": {f"p{number}": "" for number in range(300)}},
            {"members": [f"p{number}" for number in range(300)]},
            {"locations": ["x:"] * 32},
            {"size": "x" * 5000, "members": [f"p{number}" for number in range(300)]},
            {"name": "\U0001f600" + "x" * 5000},
        ],
    )
    def test_remembers_no_more_than_it_counts(
        self,
        deployment: Deployment,
        settled: None,
        monkeypatch: pytest.MonkeyPatch,
        fields: dict[str, Any],
    ) -> None:
        """A byte of a record can take 44 in memory."""
        monkeypatch.setattr(file, "_REMEMBERED_BYTES", 200_000)
        registry = build(FileRegistry, directory=str(deployment.registry))
        ids = [f"i{number}" for number in range(30)]
        for image_id in ids:
            deployment.record(image_id, **fields)
        tracemalloc.start()
        try:
            for image_id in ids:
                with contextlib.suppress(MalformedImage):
                    registry.get(image_id, ANONYMOUS)
            assert tracemalloc.get_traced_memory()[0] < 250_000
        finally:
            tracemalloc.stop()

    def test_remembers_thousands_of_ordinary_records(
        self,
        deployment: Deployment,
        settled: None,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(file, "_REMEMBERED_BYTES", file._REMEMBERED_BYTES // 100)
        registry = build(FileRegistry, directory=str(deployment.registry))
        ids = [f"71c675ab-d94f-49cd-a114-{number:012}" for number in range(20)]
        for image_id in ids:
            properties = {f"property_{number}": "some value" for number in range(15)}
            deployment.add(image_id, b"data", name="CirrOS", owner="p" * 32, properties=properties)
        first = [registry.get(image_id, ANONYMOUS) for image_id in ids]
        again = [registry.get(image_id, ANONYMOUS) for image_id in ids]
        assert all(one is other for one, other in zip(first, again, strict=True))

    def test_record_too_large_to_be_remembered(
        self, deployment: Deployment, settled: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(file, "_REMEMBERED_BYTES", 5000)
        registry = build(FileRegistry, directory=str(deployment.registry))
        deployment.record("i", properties={"p": "x" * 5000})
        assert registry.get("i", ANONYMOUS) is not registry.get("i", ANONYMOUS)

    def test_too_large(self, deployment: Deployment, registry: FileRegistry) -> None:
        largest = {"status": "active", "name": ""}
        room = 1024 * 1024 - len(json.dumps(largest))
        deployment.record_path("i").write_text(json.dumps({**largest, "name": "x" * room}))
        assert len(registry.get("i", ANONYMOUS).name or "") == room
        deployment.record_path("i").write_text(json.dumps({**largest, "name": "x" * (room + 1)}))
        with pytest.raises(MalformedImage, match="larger than 1048576 bytes"):
            registry.get("i", ANONYMOUS)

    @pytest.mark.parametrize("text", ["{", "[" * 100_000, " " * 2**20 + "{}", '{"status": 1}'])
    def test_malformed_record_is_read_once(
        self,
        deployment: Deployment,
        registry: FileRegistry,
        settled: None,
        monkeypatch: pytest.MonkeyPatch,
        text: str,
    ) -> None:
        path = deployment.record_path("i")
        path.write_text(text)
        with pytest.raises(MalformedImage) as first:
            registry.get("i", ANONYMOUS)
        monkeypatch.setattr(os, "open", lambda *args: pytest.fail("it is read again"))
        for _ in range(3):
            with pytest.raises(MalformedImage) as again:
                registry.get("i", ANONYMOUS)
            assert str(again.value) == str(first.value)
            assert again.value.visibility == first.value.visibility
        # An error that is raised again and again would keep the frames of each time.
        assert len(again.traceback) == len(first.traceback) - 1
        monkeypatch.undo()
        path.write_text('{"status": "active"}')
        assert registry.get("i", ANONYMOUS).status == "active"

    def test_links_within_its_folder(
        self, deployment: Deployment, registry: FileRegistry, settled: None
    ) -> None:
        """As Kubernetes lays out a ConfigMap, whose change is that of one link."""
        for number in ("1", "2"):
            inner = deployment.registry / f"..{number}"
            inner.mkdir()
            (inner / "i.json").write_text(f'{{"status": "active", "name": "{number}"}}')
        data = deployment.registry / "..data"
        data.symlink_to("..1")
        deployment.record_path("i").symlink_to("..data/i.json")
        assert registry.get("i", ANONYMOUS).name == "1"
        assert registry.get("i", ANONYMOUS) is registry.get("i", ANONYMOUS)
        new = deployment.registry / "..new"
        new.symlink_to("..2")
        new.rename(data)
        assert registry.get("i", ANONYMOUS).name == "2"

    def test_its_folder_may_be_a_link(self, deployment: Deployment, registry: FileRegistry) -> None:
        deployment.registry.rename(deployment.folder / "real")
        deployment.registry.symlink_to("real")
        deployment.record("i", name="found")
        deployment.record_path("j").symlink_to("i.json")
        for image_id in "ij":
            assert registry.get(image_id, ANONYMOUS).name == "found"

    @pytest.mark.parametrize("is_folder", [True, False])
    def test_follows_no_link_out_of_its_folder(
        self,
        deployment: Deployment,
        registry: FileRegistry,
        settled: None,
        is_folder: bool,
    ) -> None:
        outside = deployment.folder / "outside"
        outside.mkdir()
        (outside / "i.json").write_text('{"status": "active"}')
        path = deployment.record_path("i")
        if is_folder:
            (deployment.registry / "..data").symlink_to(outside)
            path.symlink_to("..data/i.json")
        else:
            path.symlink_to(outside / "i.json")
        for _ in range(2):
            with pytest.raises(MalformedImage, match="is not below") as caught:
                registry.get("i", ANONYMOUS)
            assert caught.value.visibility is None

    def test_link_to_a_remembered_record_that_is_led_out_later(
        self, deployment: Deployment, registry: FileRegistry, settled: None
    ) -> None:
        deployment.record("real", name="inside")
        path = deployment.record_path("i")
        path.symlink_to("real.json")
        assert registry.get("i", ANONYMOUS).name == "inside"
        outside = deployment.folder / "outside.json"
        outside.write_text(deployment.record_path("real").read_text())
        path.unlink()
        path.symlink_to(outside)
        with pytest.raises(MalformedImage, match="is not below"):
            registry.get("i", ANONYMOUS)

    def test_links_that_lead_nowhere(self, deployment: Deployment, registry: FileRegistry) -> None:
        deployment.record_path("self").symlink_to("self.json")
        with pytest.raises(MalformedImage, match="not a regular file"):
            registry.get("self", ANONYMOUS)
        deployment.record_path("nowhere").symlink_to("nothing.json")
        with pytest.raises(ImageNotFound):
            registry.get("nowhere", ANONYMOUS)

    def test_is_no_file(self, deployment: Deployment, registry: FileRegistry) -> None:
        deployment.record_path("folder").mkdir()
        os.mkfifo(deployment.record_path("fifo"))
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(deployment.record_path("socket")))
        listener.close()
        for image_id in ("folder", "fifo", "socket"):
            with pytest.raises(MalformedImage, match="not a regular file"):
                registry.get(image_id, ANONYMOUS)

    def test_malformed_names_the_file(self, deployment: Deployment, registry: FileRegistry) -> None:
        deployment.record_path("i").write_text("{")
        with pytest.raises(MalformedImage, match=str(deployment.record_path("i"))):
            registry.get("i", ANONYMOUS)

    def test_check(self, deployment: Deployment, registry: FileRegistry) -> None:
        registry.check()
        deployment.registry.rmdir()
        with pytest.raises(BackendUnavailable, match=str(deployment.registry)):
            registry.check()


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
        assert read(store, inner / "c") == b"data"
        assert read(store, f"{deployment.images}//a/./b/../b/c") == b"data"

    def test_links_within_its_folder(self, deployment: Deployment, store: FileStore) -> None:
        inner = deployment.images / "a"
        inner.mkdir()
        (inner / "data").write_bytes(b"data")
        (deployment.images / "link").symlink_to(inner / "data")
        (deployment.images / "folder").symlink_to("a")
        assert read(store, deployment.images / "link") == b"data"
        assert read(store, deployment.images / "folder" / "data") == b"data"

    def test_its_folder_may_be_a_link(self, deployment: Deployment, store: FileStore) -> None:
        real = deployment.folder / "real"
        deployment.images.rename(real)
        deployment.images.symlink_to(real)
        (real / "i").write_bytes(b"data")
        (real / "a").mkdir()
        (real / "a" / "i").write_bytes(b"data")
        assert read(store, deployment.images / "i") == b"data"
        assert read(store, deployment.images / "a" / "i") == b"data"
        assert read(store, real / "i") == b"data"
        with pytest.raises(DataNotFound):
            read(store, real / "absent")

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
                read(store, path)

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
                read(store, deployment.images / path)

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
            read(store, inner / "data")

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
                    read(store, deployment.images / name)
        assert time.monotonic() - started < 5

    def test_absent(self, deployment: Deployment, store: FileStore) -> None:
        for name in ("absent", "a/b", "x" * 300):
            with pytest.raises(DataNotFound):
                read(store, deployment.images / name)

    def test_missing_folder_is_not_absent_data(
        self, deployment: Deployment, store: FileStore
    ) -> None:
        deployment.images.rmdir()
        with pytest.raises(BackendUnavailable):
            read(store, deployment.images / "i")

    def test_version_names_these_bytes(
        self, deployment: Deployment, store: FileStore, settled: None
    ) -> None:
        path = deployment.images / "i"
        path.write_bytes(b"data")
        blob = store.open(Location(f"file://{path}"), caller=ANONYMOUS)
        blob.close()
        assert read(store, path, version=blob.version, start=1) == b"ata"
        new = deployment.images / "new"
        new.write_bytes(b"DATA")
        new.rename(path)
        with pytest.raises(DataChanged):
            read(store, path, version=blob.version)

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
