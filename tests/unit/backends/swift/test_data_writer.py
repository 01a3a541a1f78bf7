# SPDX-License-Identifier: Apache-2.0
import io
import json
from collections.abc import Callable, Iterator

import pytest

from imageapi.backends.base import StoreBackend
from imageapi.backends.swift.registry import SwiftRegistry
from imageapi.backends.swift.store import SwiftStore
from imageapi.backends.writing import HashingReader, WriteError
from imageapi.commands import changes
from imageapi.config.plugins import Loaded
from imageapi.errors import BackendUnavailable
from imageapi.image import Image
from imageapi.testing.suite import build
from tests.unit.backends.swift import fake_swift
from tests.unit.backends.swift.fake_swift import NOWHERE, FakeSwift, md5_text

RECORD = "/records/i.json"
MIB = 1024**2

Add = Callable[[bytes], Image]


@pytest.fixture
def add_data(memory_swift: FakeSwift, monkeypatch: pytest.MonkeyPatch) -> Iterator[Add]:
    """Adds an image with this data, whose size is unknown before its end."""
    registry = build(SwiftRegistry, container="records", **NOWHERE)
    store = build(SwiftStore, container="images", segment_size=MIB, **NOWHERE)
    for backend in (registry, store):
        monkeypatch.setattr(backend.account, "request", memory_swift.request)

    def add(data: bytes) -> Image:
        new = HashingReader(io.BytesIO(data), lambda _: None)
        loaded: Loaded[StoreBackend]
        loaded = Loaded("store", "s", "swift", "imageapi_store_s", "imageapi", store)
        writers = changes.Writers(registry.writer(), store.writer(), loaded, is_first=True)
        return changes.add(writers, Image(id="i", status="queued"), new, None)

    yield add
    registry.close()
    store.close()


def test_the_record_names_the_data_which_has_a_name_of_its_own(
    memory_swift: FakeSwift, add_data: Add
) -> None:
    image = add_data(b"")
    (location,) = image.locations
    assert location.url.startswith("swift://images/i/")
    data = location.url.removeprefix("swift:/")
    assert memory_swift.objects.keys() == {data, RECORD}
    (record,) = json.loads(memory_swift.objects[RECORD])["images"]
    assert (record["status"], record["checksum"]) == ("active", md5_text(b""))
    # The data is put before the record.
    assert [line for line, _ in memory_swift.requests if line.startswith("PUT")] == [
        f"PUT {data}",
        f"PUT {RECORD}",
    ]


def test_data_of_unknown_size_becomes_segments_and_a_manifest(
    memory_swift: FakeSwift, add_data: Add
) -> None:
    data = b"a" * MIB + b"b"
    image = add_data(data)
    assert (image.size, image.checksum) == (len(data), md5_text(data))
    name = image.locations[0].url.removeprefix("swift://images/")
    segments = [f"/images_segments/{name}/0000000{number}" for number in range(2)]
    assert [len(memory_swift.objects[path]) for path in segments] == [MIB, 1]
    assert json.loads(memory_swift.objects[f"/images/{name}"]) == [
        {
            "path": path,
            "etag": md5_text(memory_swift.objects[path]),
            "size_bytes": len(memory_swift.objects[path]),
        }
        for path in segments
    ]


def test_an_image_that_exists_is_refused_before_any_upload(
    memory_swift: FakeSwift, add_data: Add
) -> None:
    memory_swift.objects[RECORD] = b"theirs"
    with pytest.raises(WriteError, match="exists already"):
        add_data(b"")
    assert [line for line, _ in memory_swift.requests] == [f"GET {RECORD}"]


def before(swift: FakeSwift, line: str, action: Callable[[], object]) -> None:
    """Do something before a request; a GET of the record is the one that reads it back."""
    if line.startswith("GET"):
        swift.before[f"PUT {RECORD}"] = lambda: swift.before.update({line: action})
    else:
        swift.before[line] = action


@pytest.mark.parametrize("line", [f"PUT {RECORD}", f"GET {RECORD}"])
def test_a_record_that_appears_meanwhile_stays_and_our_data_is_removed(
    memory_swift: FakeSwift, add_data: Add, line: str
) -> None:
    before(memory_swift, line, lambda: memory_swift.objects.update({RECORD: b"theirs"}))
    with pytest.raises(WriteError, match=r"exists already|at the same moment"):
        add_data(b"")
    assert memory_swift.objects == {RECORD: b"theirs"}


def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("line", ["PUT /images/", "PUT /images_segments/", f"GET {RECORD}"])
def test_an_interruption_removes_all(memory_swift: FakeSwift, add_data: Add, line: str) -> None:
    before(memory_swift, line, interrupt)
    with pytest.raises(KeyboardInterrupt):
        add_data(b"a" * MIB + b"b")
    assert memory_swift.objects == {}


def test_data_that_swift_received_otherwise_is_removed(
    memory_swift: FakeSwift, add_data: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake_swift, "md5_text", lambda _data: "other")
    with pytest.raises(WriteError, match="Swift received other bytes than were sent"):
        add_data(b"")
    assert memory_swift.objects == {}


def test_what_cannot_be_removed_is_logged(
    memory_swift: FakeSwift, add_data: Add, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise BackendUnavailable("down")

    memory_swift.before |= {"DELETE /images/": fail, f"PUT {RECORD}": fail}
    with pytest.raises(BackendUnavailable, match="down"):
        add_data(b"")
    (left,) = memory_swift.objects
    assert f"left behind; remove it with a Swift client: {left}" in caplog.text
