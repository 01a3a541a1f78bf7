# SPDX-License-Identifier: Apache-2.0
"""Which location's data is opened; tests/contract has what a client gets of it."""

import hashlib
from typing import Any

import pytest

from imageapi.caller import ANONYMOUS
from imageapi.download.opener import Opened, Opener
from imageapi.download.requested_data import DownloadRequest
from imageapi.download.store_choice import data_locations_of
from imageapi.errors import (
    BackendUnavailable,
    DataMismatch,
    DataNotFound,
    LocationRefused,
    WrongHash,
)
from imageapi.image import Image, Location
from imageapi.protocol.ranges import ByteRange, RangeNotSatisfiable
from tests.memory import Memory, blobs_without

MD5 = hashlib.md5(b"data", usedforsecurity=False).hexdigest()

BOTH = (Location("memory:i", store="memory"), Location("memory:i", store="second"))


def image_of_four_bytes(**fields: Any) -> Image:
    return Image(**{"id": "i", "status": "active", "size": 4, "checksum": MD5, **fields})


def opened(
    memory: Memory,
    image: Image,
    part: ByteRange | None = None,
    *,
    may_continue: bool = False,
    opener: Opener | None = None,
) -> tuple[Opened, int]:
    """What is opened, and how many steps it took."""
    locations = data_locations_of(image, memory.api.backends.stores)
    request = DownloadRequest(image, part, may_continue, ANONYMOUS)
    steps = (opener or Opener("once", 0)).open(request, locations)
    count = 1
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value, count
        count += 1


def content(found: Opened) -> bytes:
    return b"".join(found.body)


@pytest.fixture
def stores(memory: Memory) -> Memory:
    memory.store.put("i", b"data")
    memory.second.put("i", b"data")
    return memory


def test_first_location_that_works_is_used(stores: Memory) -> None:
    stores.store.fail(BackendUnavailable("down"))
    locations = (Location("ftp:i"), *BOTH)
    found, _ = opened(stores, image_of_four_bytes(locations=locations))
    assert str(found.location) == "store 'second'"
    assert (found.span, found.size, content(found)) == (None, 4, b"data")


def test_error_is_that_of_the_first_location(stores: Memory) -> None:
    stores.store.fail(BackendUnavailable("down"))
    stores.second.fail(DataNotFound("gone"))
    with pytest.raises(BackendUnavailable):
        opened(stores, image_of_four_bytes(locations=BOTH))
    with pytest.raises(LocationRefused):
        opened(
            stores, image_of_four_bytes(locations=(Location("ftp:i"), Location("memory:absent")))
        )


def test_wrong_data_is_closed_before_the_next_location_is_opened(stores: Memory) -> None:
    stores.store.put("i", b"atad")
    found, _ = opened(stores, image_of_four_bytes(locations=BOTH))
    assert (stores.store.opened, stores.store.open_blobs) == (1, 0)
    assert content(found) == b"data"


def test_client_that_may_hold_wrong_data_gets_nothing_from_the_next_location(
    stores: Memory,
) -> None:
    stores.store.put("i", b"atad")
    with pytest.raises(WrongHash):
        opened(stores, image_of_four_bytes(locations=BOTH), ByteRange(1, None), may_continue=True)
    assert stores.second.opened == 0


def test_nobody_holds_data_whose_size_was_always_wrong(stores: Memory) -> None:
    stores.store.put("i", b"longer")
    found, _ = opened(
        stores, image_of_four_bytes(locations=BOTH), ByteRange(1, None), may_continue=True
    )
    assert content(found) == b"ata"
    assert stores.store.open_blobs == 0


@pytest.mark.parametrize(("verified", "steps", "blobs"), [(False, 2, 2), (True, 1, 1)])
def test_part_with_the_end_is_read_from_the_first_byte_until_it_is_verified(
    stores: Memory, monkeypatch: pytest.MonkeyPatch, verified: bool, steps: int, blobs: int
) -> None:
    monkeypatch.setattr(stores.store, "_chunk_size", 2)
    opener = Opener("once", 0)
    if verified:
        content(opened(stores, image_of_four_bytes(), opener=opener)[0])
    before = stores.store.opened
    found, taken = opened(stores, image_of_four_bytes(), ByteRange(3, None), opener=opener)
    assert (found.span, content(found), taken) == ((3, 4), b"a", steps)
    assert (stores.store.opened - before, stores.store.open_blobs) == (blobs, 0)


def test_data_that_cannot_be_opened_again_stays_closed(
    stores: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    opens = stores.store.open

    def open_parts(*args: Any, **wanted: Any) -> Any:
        if not wanted["start"]:
            raise BackendUnavailable("down")
        return opens(*args, **wanted)

    monkeypatch.setattr(stores.store, "open", open_parts)
    with pytest.raises(BackendUnavailable):
        opened(stores, image_of_four_bytes(), ByteRange(3, None))
    assert (stores.store.opened, stores.store.open_blobs) == (1, 0)


def test_size_that_only_the_store_knows_limits_the_range(stores: Memory) -> None:
    unknown = image_of_four_bytes(size=None, checksum=None)
    found, _ = opened(stores, unknown, ByteRange(2, 9))
    assert (found.span, found.size, content(found)) == ((2, 4), 4, b"ta")
    with pytest.raises(RangeNotSatisfiable):
        opened(stores, unknown, ByteRange(4, None))
    assert stores.store.open_blobs == 0


def test_range_past_the_end_of_wrong_data_reports_the_wrong_data(stores: Memory) -> None:
    with pytest.raises(WrongHash):
        opened(stores, image_of_four_bytes(size=None, checksum="0" * 32), ByteRange(4, None))
    with pytest.raises(RangeNotSatisfiable):
        opened(stores, image_of_four_bytes(size=None), ByteRange(4, None))
    assert stores.store.open_blobs == 0


def test_data_without_a_version_is_verified_each_time(
    stores: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs_without(monkeypatch, stores, "version")
    opener = Opener("once", 0)
    content(opened(stores, image_of_four_bytes(), opener=opener)[0])
    before = stores.store.opened
    content(opened(stores, image_of_four_bytes(), ByteRange(3, None), opener=opener)[0])
    assert stores.store.opened - before == 2


def test_steps_that_are_closed_close_the_data(
    stores: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores.store, "_chunk_size", 1)
    locations = data_locations_of(image_of_four_bytes(), stores.api.backends.stores)
    request = DownloadRequest(image_of_four_bytes(), ByteRange(3, None), False, ANONYMOUS)
    steps = Opener("once", 0).open(request, locations)
    next(steps)
    assert stores.store.open_blobs == 1
    steps.close()
    assert stores.store.open_blobs == 0


@pytest.mark.parametrize(("mode", "is_checked"), [("once", True), ("never", False)])
def test_empty_image_has_the_hash_of_empty_data(
    mode: str, is_checked: bool, caplog: pytest.LogCaptureFixture
) -> None:
    opener = Opener(mode, 0)
    opener.verify_empty(image_of_four_bytes(size=0, checksum=hashlib.md5(b"").hexdigest()))
    opener.verify_empty(image_of_four_bytes(size=0, checksum=None))
    assert caplog.messages == []
    if is_checked:
        with pytest.raises(DataMismatch):
            opener.verify_empty(image_of_four_bytes(size=0))
        (message,) = caplog.messages
        assert message.startswith("image 'i': its record: the size is 0, but the md5 is not")
    else:
        opener.verify_empty(image_of_four_bytes(size=0))
