# SPDX-License-Identifier: Apache-2.0
from typing import Any

import pytest

from imageapi.caller import ANONYMOUS
from imageapi.download.requested_data import (
    DownloadRequest,
    Found,
    WrongSize,
    check_size,
    may_be_held,
    open_requested,
)
from imageapi.download.store_choice import DataLocation, data_locations_of
from imageapi.errors import BackendUnavailable, WrongHash
from imageapi.image import Image, Location
from imageapi.protocol.ranges import ByteRange, RangeNotSatisfiable, Span
from tests.memory import Memory

IMAGE: dict[str, Any] = {"id": "i", "status": "active", "locations": (Location("memory:i"),)}


def found_in(
    memory: Memory, part: ByteRange | None, size: int | None = 4
) -> tuple[Found, DownloadRequest]:
    memory.store.put("i", b"data")
    request = DownloadRequest(Image(**IMAGE, size=size), part, False, ANONYMOUS)
    (location,) = data_locations_of(request.image, memory.api.backends.stores)
    assert isinstance(location, DataLocation)
    return open_requested(location, request), request


def content_of(found: Found) -> bytes:
    try:
        return b"".join(found.blob)
    finally:
        found.blob.close()


@pytest.mark.parametrize("size", [4, None])
def test_the_whole_and_a_part(memory: Memory, size: int | None) -> None:
    found, _ = found_in(memory, None, size)
    assert (content_of(found), found.span, found.size) == (b"data", None, 4)
    found, _ = found_in(memory, ByteRange(1, 2), size)
    assert (content_of(found), found.span, found.size) == (b"at", Span(1, 3), 4)


def test_a_part_past_the_end(memory: Memory) -> None:
    with pytest.raises(RangeNotSatisfiable):
        found_in(memory, ByteRange(9, None))
    # Only the store knows the size, so that its data must be verified first.
    found, _ = found_in(memory, ByteRange(9, None), None)
    assert (content_of(found), found.past_end) == (b"data", 4)


def test_a_wrong_size_is_refused(memory: Memory) -> None:
    found, request = found_in(memory, None, 5)
    with pytest.raises(WrongSize) as error:
        check_size(found.blob, found.size)
    found.blob.close()
    # Each download of such data fails before its first byte.
    assert not may_be_held(error.value, found, request)
    assert may_be_held(WrongHash("x"), found, request)
    memory.store.fail(BackendUnavailable("down"))
    assert may_be_held(error.value, found, request)
