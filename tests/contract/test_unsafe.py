# SPDX-License-Identifier: Apache-2.0
"""docs/wire.md: images that refer to other files are refused or logged."""

import logging
from pathlib import Path
from typing import Any

import pytest

from imageapi.backends.base import Blob
from imageapi.errors import BackendUnavailable, DataNotFound
from imageapi.image import Location
from tests.memory import Memory, NoRangesStore, blobs_without
from tests.unit.download.test_unsafe_formats import FLAT, qcow, vmdk

UNSAFE = qcow(3, backing_file=999)
TOLD = "image 'i': store 'memory': the data is a qcow2 image with a backing file"
REFUSED = "Image i is unsafe: its data may refer to other files."

# The whole, its beginning, some of its middle, and its end.
PARTS: list[dict[str, Any]] = [
    {},
    {"Range": "bytes=0-9"},
    {"Range": "bytes=100-199"},
    {"Range": "bytes=-7"},
]


def memory_of(folder: Path, mode: str, data: bytes = UNSAFE, **core: Any) -> Memory:
    memory = Memory(folder, unsafe_images=mode, **core)
    memory.put(data, disk_format="raw")
    return memory


def texts(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno == level]


@pytest.mark.wire("data-unsafe")
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("chunk_size", [1, 65536])
@pytest.mark.parametrize("data", [UNSAFE, FLAT, vmdk(b'parentFileNameHint="x"')])
def test_refused(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    part: dict[str, Any],
    chunk_size: int,
    data: bytes,
) -> None:
    memory = memory_of(tmp_path, "refuse", data, chunk_size=chunk_size)
    if len(data) < 100 and "100" in str(part):
        part = {"Range": "bytes=20-"}
    for _ in range(2):
        response = memory.get(Accept="text/plain", **part)
        assert response.status_code == 403
        assert REFUSED in response.text
    assert memory.head().status_code == 200
    assert memory.store.open_blobs == 0
    errors = texts(caplog, logging.ERROR)
    assert len(errors) == 2
    assert all(text.endswith(" (unsafe_images = refuse)") for text in errors)


@pytest.mark.wire("data-unsafe")
@pytest.mark.parametrize("mode", ["log", "serve"])
@pytest.mark.parametrize("verify_checksum", ["once", "never"])
def test_logged_or_served(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: str, verify_checksum: str
) -> None:
    memory = memory_of(tmp_path, mode, verify_checksum=verify_checksum)
    assert memory.get().body == UNSAFE
    assert memory.get(Range="bytes=100-199").body == UNSAFE[100:200]
    assert memory.get(Range="bytes=-7").body == UNSAFE[-7:]
    told = [f"{TOLD} (unsafe_images = log)"] if mode == "log" else []
    assert texts(caplog, logging.WARNING) == told
    memory.put(UNSAFE + b"another version")
    assert memory.get().status_code == 200
    assert texts(caplog, logging.WARNING) == told * 2


@pytest.mark.wire("data-unsafe")
@pytest.mark.parametrize("attribute", ["total_size", "version"])
@pytest.mark.parametrize("size", [None, len(UNSAFE)])
def test_unknown_size_or_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attribute: str, size: int | None
) -> None:
    memory = memory_of(tmp_path, "refuse", chunk_size=40)
    memory.put(UNSAFE, size=size)
    blobs_without(monkeypatch, memory, attribute)
    for part in PARTS:
        assert memory.get(**part).status_code == 403
    memory.put(b"harmless", size=None)
    assert memory.get().body == b"harmless"


@pytest.mark.wire("data-unsafe")
@pytest.mark.parametrize("data", [UNSAFE, vmdk(FLAT)])
def test_store_without_ranges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    memory = memory_of(tmp_path, "refuse", data, chunk_size=100)
    monkeypatch.setattr(memory.store, "__class__", NoRangesStore)
    for part in PARTS:
        assert memory.get(**part).status_code == 403
    assert memory.store.open_blobs == 0


@pytest.mark.wire("data-unsafe")
def test_harmless_data_costs_no_further_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = memory_of(tmp_path, "refuse", bytes(1000))
    opened = opens(memory, monkeypatch)
    assert memory.get().status_code == 200
    assert opened == [(0, None)]
    for _ in range(2):
        assert memory.get(Range="bytes=100-199").status_code == 206
    assert opened[1:] == [(100, 200), (0, 64), (100, 200)]


def opens(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int | None]]:
    """From now on this list receives what is opened."""
    store_opens = memory.store.open
    opened = []

    def listed(location: Location, *, start: int, stop: int | None, **more: Any) -> Blob:
        opened.append((start, stop))
        return store_opens(location, start=start, stop=stop, **more)

    monkeypatch.setattr(memory.store, "open", listed)
    return opened


@pytest.mark.wire("data-unsafe")
@pytest.mark.parametrize(("mode", "status"), [("refuse", 503), ("log", 206)])
def test_data_that_cannot_be_examined(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    mode: str,
    status: int,
) -> None:
    memory = memory_of(tmp_path, mode)
    store_opens = memory.store.open

    def fail_at_first_byte(location: Location, *, start: int, **more: Any) -> Blob:
        if start == 0:
            raise BackendUnavailable("down")
        return store_opens(location, start=start, **more)

    monkeypatch.setattr(memory.store, "open", fail_at_first_byte)
    assert memory.get(Range="bytes=100-199").status_code == status
    if mode == "log":
        told = "the data cannot be examined (unsafe_images = log): down"
        assert texts(caplog, logging.WARNING) == [f"image 'i': store 'memory': {told}"]


@pytest.mark.wire("data-unsafe")
def test_first_bytes_that_end_early(tmp_path: Path) -> None:
    """They are not taken for those of a harmless image, nor remembered as such."""
    memory = memory_of(tmp_path, "refuse", chunk_size=10)
    memory.store.give(b"", at=10)
    assert memory.get(Range="bytes=100-199").status_code == 503
    assert memory.get(Range="bytes=100-199").status_code == 403


@pytest.mark.wire("data-unsafe")
def test_other_locations(tmp_path: Path) -> None:
    """As after other errors: the next location is tried, unless the client may hold bytes."""
    memory = memory_of(tmp_path, "refuse")
    both = (Location("memory:i", store="memory"), Location("memory:i", store="second"))
    memory.put(UNSAFE, locations=both, checksum=None)
    memory.second.put("i", bytes(len(UNSAFE)))
    assert memory.get().body == bytes(len(UNSAFE))
    assert memory.get(Range="bytes=100-").status_code == 403
    memory.second.fail(DataNotFound("gone"))
    assert memory.get().status_code == 403
