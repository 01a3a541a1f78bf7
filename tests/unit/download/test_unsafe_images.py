# SPDX-License-Identifier: Apache-2.0
"""What is read and remembered; tests/contract/test_unsafe.py has what a client gets."""

import pytest

from imageapi.caller import ANONYMOUS
from imageapi.download.store_choice import DataLocation
from imageapi.download.unsafe_formats import FIRST_BYTES
from imageapi.download.unsafe_images import DataParts, UnsafeImages
from imageapi.errors import BackendUnavailable, RangeNotSupported, UnsafeImage
from imageapi.image import Image
from tests.memory import Memory, blobs_without
from tests.unit.download.test_unsafe_formats import qcow

UNSAFE = qcow(3, backing_file=999)
IMAGE = Image(id="i", status="active")


def put_data(memory: Memory, data: bytes) -> DataLocation:
    return DataLocation(memory.api.backends.stores[0], memory.store.put("i", data))


def parts_of(memory: Memory, data: bytes, *, size: int | None, first: bytes = b"") -> DataParts:
    location = put_data(memory, data)
    return DataParts(location, IMAGE, version=None, size=size, caller=ANONYMOUS, first=first)


def examine(unsafe_images: UnsafeImages, location: DataLocation, first: bytes = b"") -> None:
    """Examine the data of a new response."""
    blob = location.open(0, None, None, ANONYMOUS)
    try:
        unsafe_images.check(location, IMAGE, blob, size=None, caller=ANONYMOUS, first=first)
    finally:
        blob.close()


class TestDataParts:
    @pytest.mark.parametrize(
        ("start", "stop", "part"),
        [(0, 2, b"01"), (7, 99, b"789"), (9, 10, b"9"), (10, 12, b""), (3, 3, b"")],
    )
    @pytest.mark.parametrize("size", [10, None])
    def test_part(
        self, memory: Memory, size: int | None, start: int, stop: int, part: bytes
    ) -> None:
        assert parts_of(memory, b"0123456789", size=size).part(start, stop) == part
        assert memory.store.open_blobs == 0

    def test_first_bytes_are_not_read_again(self, memory: Memory) -> None:
        parts = parts_of(memory, b"0123456789", size=10, first=b"0123")
        assert parts.part(1, 4) == b"123"
        assert memory.store.opened == 0
        assert parts.part(1, 5) == b"1234"

    def test_store_that_refuses_a_part_is_read_from_the_beginning(self, memory: Memory) -> None:
        parts = parts_of(memory, b"0123456789", size=10)
        memory.store.fail(RangeNotSupported("whole data only"))
        assert parts.part(4, 6) == b"45"
        assert parts.last(3) == b""
        assert memory.store.open_blobs == 0

    @pytest.mark.parametrize("size", [10, None])
    def test_data_that_ends_early(self, memory: Memory, size: int | None) -> None:
        parts = parts_of(memory, b"01234", size=size)
        if size is None:
            assert parts.part(0, 10) == b"01234"
        else:
            with pytest.raises(BackendUnavailable, match="the data ended 5 bytes early"):
                parts.part(0, 10)

    @pytest.mark.parametrize(
        ("size", "count", "part"), [(10, 3, b"789"), (10, 11, b""), (None, 3, b"")]
    )
    def test_last(self, memory: Memory, size: int | None, count: int, part: bytes) -> None:
        assert parts_of(memory, b"0123456789", size=size).last(count) == part


class TestUnsafeImages:
    def test_refuse(self, memory: Memory) -> None:
        location = put_data(memory, UNSAFE)
        with pytest.raises(UnsafeImage, match=r"backing file \(unsafe_images = refuse\)"):
            examine(UnsafeImages("refuse"), location)

    def test_log_warns_once_for_a_version(
        self, memory: Memory, caplog: pytest.LogCaptureFixture
    ) -> None:
        unsafe_images = UnsafeImages("log")
        for _ in range(3):
            location = put_data(memory, UNSAFE)
            examine(unsafe_images, location)
            examine(unsafe_images, location)
        told = "the data is a qcow2 image with a backing file (unsafe_images = log)"
        assert caplog.messages == [f"image 'i': store 'memory': {told}"] * 3

    def test_serve_reads_nothing(self, memory: Memory) -> None:
        examine(UnsafeImages("serve"), put_data(memory, UNSAFE))
        assert memory.store.opened == 1  # the response's own

    def test_harmless_beginning_is_enough(self, memory: Memory) -> None:
        examine(UnsafeImages("refuse"), put_data(memory, b""), first=bytes(FIRST_BYTES))
        assert memory.store.opened == 1

    def test_same_version_is_examined_once(self, memory: Memory) -> None:
        unsafe_images = UnsafeImages("refuse")
        location = put_data(memory, qcow(3))
        examine(unsafe_images, location)
        opened = memory.store.opened
        examine(unsafe_images, location)
        assert memory.store.opened == opened + 1

    def test_refuse_examines_data_without_a_version_each_time(
        self, memory: Memory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        blobs_without(monkeypatch, memory, "version")
        unsafe_images = UnsafeImages("refuse")
        location = put_data(memory, qcow(3))
        examine(unsafe_images, location)
        memory.store.put("i", UNSAFE)
        with pytest.raises(UnsafeImage):
            examine(unsafe_images, location)

    def test_refuse_needs_data_that_can_be_examined(self, memory: Memory) -> None:
        location = put_data(memory, qcow(3))
        memory.store.fail(BackendUnavailable("reset"), at=0)
        with pytest.raises(BackendUnavailable, match="reset"):
            examine(UnsafeImages("refuse"), location)

    def test_log_warns_of_data_that_cannot_be_examined(
        self, memory: Memory, caplog: pytest.LogCaptureFixture
    ) -> None:
        unsafe_images = UnsafeImages("log")
        location = put_data(memory, UNSAFE)
        memory.store.fail(BackendUnavailable("reset"), at=0)
        examine(unsafe_images, location)
        assert caplog.messages == [
            "image 'i': store 'memory': the data cannot be examined (unsafe_images = log): reset"
        ]
        # It was not taken for harmless.
        examine(unsafe_images, location)
        assert "a qcow2 image with a backing file" in caplog.messages[-1]
