# SPDX-License-Identifier: Apache-2.0
import contextlib
import json
import os
import socket
import tracemalloc
from typing import Any

import pytest

from imageapi import document
from imageapi.backends.base import Backend
from imageapi.backends.file import folder
from imageapi.backends.file import registry as module
from imageapi.backends.file.registry import FileRegistry
from imageapi.backends.file.store import FileStore
from imageapi.caller import ANONYMOUS
from imageapi.errors import (
    BackendUnavailable,
    ConfigurationError,
    ImageNotFound,
    MalformedImage,
)
from imageapi.image import Image
from imageapi.testing.suite import build
from tests.deployment import Deployment


@pytest.fixture
def file_registry(deployment: Deployment) -> FileRegistry:
    registry = deployment.api().backends.registry.backend
    assert isinstance(registry, FileRegistry)
    return registry


@pytest.mark.parametrize("backend", [FileRegistry, FileStore])
def test_directory_that_no_system_can_have(backend: type[Backend]) -> None:
    with pytest.raises(ConfigurationError, match=r"^directory: must not contain a NUL character$"):
        build(backend, directory="/a\0b")


class TestRegistry:
    @pytest.mark.parametrize("image_id", ["i", ".", "..", "a b", "\u00e9", "a.json", "-", "%"])
    def test_finds_records(
        self, deployment: Deployment, file_registry: FileRegistry, image_id: str
    ) -> None:
        deployment.record(image_id, name="found")
        assert file_registry.get(image_id, ANONYMOUS).name == "found"

    @pytest.mark.parametrize("image_id", ["absent", "x" * 300, ".", "..", "a.json"])
    def test_absent(self, file_registry: FileRegistry, image_id: str) -> None:
        with pytest.raises(ImageNotFound):
            file_registry.get(image_id, ANONYMOUS)

    def test_missing_folder_is_not_an_absent_image(
        self, deployment: Deployment, file_registry: FileRegistry
    ) -> None:
        deployment.registry.rmdir()
        with pytest.raises(BackendUnavailable, match="No such file"):
            file_registry.get("i", ANONYMOUS)

    @pytest.mark.parametrize("settled_ns", [-1, folder.SETTLED_NS])
    def test_changed_record_is_seen_at_the_next_request(
        self,
        deployment: Deployment,
        file_registry: FileRegistry,
        monkeypatch: pytest.MonkeyPatch,
        settled_ns: int,
    ) -> None:
        monkeypatch.setattr(folder, "SETTLED_NS", settled_ns)
        deployment.record("i", name="a")
        path = deployment.record_path("i")
        assert file_registry.get("i", ANONYMOUS).name == "a"
        new = path.with_name("new")
        new.write_text(path.read_text().replace('"a"', '"b"'))
        new.rename(path)
        assert file_registry.get("i", ANONYMOUS).name == "b"
        path.unlink()
        with pytest.raises(ImageNotFound):
            file_registry.get("i", ANONYMOUS)

    def test_record_rewritten_within_a_clock_tick_is_seen(
        self, deployment: Deployment, file_registry: FileRegistry
    ) -> None:
        for name in "abcdefgh":
            deployment.record("i", name=name)
            assert file_registry.get("i", ANONYMOUS).name == name

    def test_parses_a_settled_record_once(
        self, deployment: Deployment, file_registry: FileRegistry, settled: None
    ) -> None:
        deployment.record("i")
        assert file_registry.get("i", ANONYMOUS) is file_registry.get("i", ANONYMOUS)

    def test_remembers_in_bounded_memory(
        self,
        deployment: Deployment,
        file_registry: FileRegistry,
        settled: None,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        reads = []
        parse = document.parse

        def counted(data: bytes, image_id: str) -> Image:
            reads.append(image_id)
            return parse(data, image_id)

        monkeypatch.setattr(document.parsing, "parse", counted)
        ids = [f"i{number}" for number in range(20)]
        for image_id in ids:
            deployment.record(image_id, properties={"filler": "x" * 1_000_000})
        for image_id in ids + ids:
            file_registry.get(image_id, ANONYMOUS)
        # At most eight of the 20 fit.  What is remembered is not read again.
        assert 32 <= len(reads) < 40

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
        monkeypatch.setattr(module, "_REMEMBERED_BYTES", 200_000)
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
        monkeypatch.setattr(module, "_REMEMBERED_BYTES", module._REMEMBERED_BYTES // 100)
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
        monkeypatch.setattr(module, "_REMEMBERED_BYTES", 5000)
        registry = build(FileRegistry, directory=str(deployment.registry))
        deployment.record("i", properties={"p": "x" * 5000})
        assert registry.get("i", ANONYMOUS) is not registry.get("i", ANONYMOUS)

    def test_too_large(self, deployment: Deployment, file_registry: FileRegistry) -> None:
        largest = {"status": "active", "name": ""}
        room = 1024 * 1024 - len(json.dumps(largest))
        deployment.record_path("i").write_text(json.dumps({**largest, "name": "x" * room}))
        assert len(file_registry.get("i", ANONYMOUS).name or "") == room
        deployment.record_path("i").write_text(json.dumps({**largest, "name": "x" * (room + 1)}))
        with pytest.raises(MalformedImage, match="larger than 1048576 bytes"):
            file_registry.get("i", ANONYMOUS)

    @pytest.mark.parametrize("text", ["{", "[" * 100_000, " " * 2**20 + "{}", '{"status": 1}'])
    def test_malformed_record_is_read_once(
        self,
        deployment: Deployment,
        file_registry: FileRegistry,
        settled: None,
        monkeypatch: pytest.MonkeyPatch,
        text: str,
    ) -> None:
        path = deployment.record_path("i")
        path.write_text(text)
        with pytest.raises(MalformedImage) as first:
            file_registry.get("i", ANONYMOUS)
        monkeypatch.setattr(os, "open", lambda *args: pytest.fail("it is read again"))
        for _ in range(3):
            with pytest.raises(MalformedImage) as again:
                file_registry.get("i", ANONYMOUS)
            assert str(again.value) == str(first.value)
            assert again.value.visibility == first.value.visibility
        # An error that is raised again and again would keep the frames of each time.
        assert len(again.traceback) == len(first.traceback)
        monkeypatch.undo()
        path.write_text('{"status": "active"}')
        assert file_registry.get("i", ANONYMOUS).status == "active"

    def test_links_within_its_folder(
        self, deployment: Deployment, file_registry: FileRegistry, settled: None
    ) -> None:
        """As Kubernetes lays out a ConfigMap, whose change is that of one link."""
        for number in ("1", "2"):
            inner = deployment.registry / f"..{number}"
            inner.mkdir()
            (inner / "i.json").write_text(f'{{"status": "active", "name": "{number}"}}')
        data = deployment.registry / "..data"
        data.symlink_to("..1")
        deployment.record_path("i").symlink_to("..data/i.json")
        assert file_registry.get("i", ANONYMOUS).name == "1"
        assert file_registry.get("i", ANONYMOUS) is file_registry.get("i", ANONYMOUS)
        new = deployment.registry / "..new"
        new.symlink_to("..2")
        new.rename(data)
        assert file_registry.get("i", ANONYMOUS).name == "2"

    def test_its_folder_may_be_a_link(
        self, deployment: Deployment, file_registry: FileRegistry
    ) -> None:
        deployment.registry.rename(deployment.folder / "real")
        deployment.registry.symlink_to("real")
        deployment.record("i", name="found")
        deployment.record_path("j").symlink_to("i.json")
        for image_id in "ij":
            assert file_registry.get(image_id, ANONYMOUS).name == "found"

    @pytest.mark.parametrize("is_folder", [True, False])
    def test_follows_no_link_out_of_its_folder(
        self,
        deployment: Deployment,
        file_registry: FileRegistry,
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
                file_registry.get("i", ANONYMOUS)
            assert caught.value.visibility is None

    def test_link_to_a_remembered_record_that_is_led_out_later(
        self, deployment: Deployment, file_registry: FileRegistry, settled: None
    ) -> None:
        deployment.record("real", name="inside")
        path = deployment.record_path("i")
        path.symlink_to("real.json")
        assert file_registry.get("i", ANONYMOUS).name == "inside"
        outside = deployment.folder / "outside.json"
        outside.write_text(deployment.record_path("real").read_text())
        path.unlink()
        path.symlink_to(outside)
        with pytest.raises(MalformedImage, match="is not below"):
            file_registry.get("i", ANONYMOUS)

    def test_links_that_lead_nowhere(
        self, deployment: Deployment, file_registry: FileRegistry
    ) -> None:
        deployment.record_path("self").symlink_to("self.json")
        with pytest.raises(MalformedImage, match="not a regular file"):
            file_registry.get("self", ANONYMOUS)
        deployment.record_path("nowhere").symlink_to("nothing.json")
        with pytest.raises(ImageNotFound):
            file_registry.get("nowhere", ANONYMOUS)

    def test_is_no_file(self, deployment: Deployment, file_registry: FileRegistry) -> None:
        deployment.record_path("folder").mkdir()
        os.mkfifo(deployment.record_path("fifo"))
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(deployment.record_path("socket")))
        listener.close()
        for image_id in ("folder", "fifo", "socket"):
            with pytest.raises(MalformedImage, match="not a regular file"):
                file_registry.get(image_id, ANONYMOUS)

    def test_malformed_names_the_file(
        self, deployment: Deployment, file_registry: FileRegistry
    ) -> None:
        deployment.record_path("i").write_text("{")
        with pytest.raises(MalformedImage, match=str(deployment.record_path("i"))):
            file_registry.get("i", ANONYMOUS)

    def test_check(self, deployment: Deployment, file_registry: FileRegistry) -> None:
        file_registry.check()
        deployment.registry.rmdir()
        with pytest.raises(BackendUnavailable, match=str(deployment.registry)):
            file_registry.check()
