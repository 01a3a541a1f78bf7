# SPDX-License-Identifier: Apache-2.0
"""docs/wire.md: the last bytes of a version leave only after it was verified."""

import time
from pathlib import Path
from typing import Any

import pytest

from imageapi.download.checksum import WRONG_SECONDS
from imageapi.errors import BackendUnavailable
from imageapi.image import Location
from tests.deployment import received_of
from tests.memory import Memory, blobs_without

BIG = bytes(range(256)) * 40
WRONG = b"!" + BIG[1:]
CHUNK = 1000
LAST = len(BIG) - 1

TAILS = [f"bytes={LAST}-", "bytes=-1", f"bytes={LAST}-{LAST}", "bytes=5000-", "bytes=-9000"]


@pytest.fixture(params=["once", "always"])
def mode(request: pytest.FixtureRequest) -> str:
    """Each setting of verify_checksum under which data is verified."""
    mode: str = request.param
    return mode


@pytest.fixture
def chunked_in_mode(tmp_path: Path, mode: str) -> Memory:
    """Chunks of 1000 bytes, so that BIG takes eleven.  All that is read is read to be sent."""
    memory = Memory(tmp_path, chunk_size=CHUNK, verify_checksum=mode, unsafe_images="serve")
    memory.put(BIG)
    return memory


def received(memory: Memory, **headers: Any) -> tuple[int, bytes]:
    """The status, and the data that arrives until the body ends or is broken off."""
    response = memory.request(**headers)
    data, _ = received_of(response)
    assert memory.store.open_blobs == 0
    return response.status_code, data if response.status_code in (200, 206) else b""


def bytes_read(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """From now on this list receives the length of each chunk that the store reads."""
    chunk = memory.store.chunk
    lengths: list[int] = []

    def counted(data: bytes, start: int, end: int) -> bytes:
        read = chunk(data, start, end)
        lengths.append(len(read))
        return read

    monkeypatch.setattr(memory.store, "chunk", counted)
    return lengths


@pytest.mark.wire("data-parts")
def test_part_before_the_end_is_not_verified(
    chunked_in_mode: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunked_in_mode.store.put("i", WRONG)
    read = bytes_read(chunked_in_mode, monkeypatch)
    assert received(chunked_in_mode, Range="bytes=0-99") == (206, WRONG[:100])
    assert received(chunked_in_mode, Range=f"bytes=0-{LAST - 1}") == (206, WRONG[:-1])
    assert sum(read) == 100 + LAST


@pytest.mark.wire("data-parts")
@pytest.mark.parametrize("tail", TAILS)
def test_part_with_the_end_of_wrong_data_is_never_complete(
    chunked_in_mode: Memory, tail: str
) -> None:
    chunked_in_mode.store.put("i", WRONG)
    status, data = received(chunked_in_mode, Range=tail)
    assert status in (206, 500)
    # All but the last chunk may have left.
    assert data in (b"", WRONG[5000:-240], WRONG[-9000:-240])


@pytest.mark.wire("data-parts")
def test_no_sequence_of_requests_gets_the_last_byte_of_wrong_data(chunked_in_mode: Memory) -> None:
    chunked_in_mode.store.put("i", WRONG)
    have: set[int] = set()
    for start in range(0, len(BIG), 100):
        status, data = received(chunked_in_mode, Range=f"bytes={start}-{start + 99}")
        have |= set(range(start, start + len(data)))
    status, data = received(chunked_in_mode)
    have |= set(range(len(data)))
    for tail in TAILS:
        status, data = received(chunked_in_mode, Range=tail)
        assert (status, data) == (500, b"")
    assert LAST not in have


@pytest.mark.wire("data-parts")
@pytest.mark.parametrize("tail", TAILS)
def test_part_with_the_end_of_right_data_is_sent(
    chunked_in_mode: Memory, tail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = bytes_read(chunked_in_mode, monkeypatch)
    response = chunked_in_mode.get(Range=tail)
    assert (response.status_code, BIG.endswith(response.body)) == (206, True)
    assert response.headers["Content-Range"] == (
        f"bytes {len(BIG) - len(response.body)}-{LAST}/{len(BIG)}"
    )
    assert sum(read) == len(BIG)
    assert chunked_in_mode.store.open_blobs == 0


@pytest.mark.wire("data-parts")
def test_part_of_verified_data_is_read_alone(
    chunked_in_mode: Memory, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert chunked_in_mode.get().body == BIG
    read = bytes_read(chunked_in_mode, monkeypatch)
    assert chunked_in_mode.get(Range="bytes=-10").body == BIG[-10:]
    assert sum(read) == (10 if mode == "once" else len(BIG))


@pytest.mark.wire("data-parts")
def test_part_verifies_the_version(
    chunked_in_mode: Memory, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert chunked_in_mode.get(Range="bytes=-10").body == BIG[-10:]
    read = bytes_read(chunked_in_mode, monkeypatch)
    assert chunked_in_mode.get(Range="bytes=-10").body == BIG[-10:]
    assert sum(read) == (10 if mode == "once" else len(BIG))


@pytest.mark.wire("data-parts")
def test_part_without_a_version_is_verified_each_time(
    chunked_in_mode: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs_without(monkeypatch, chunked_in_mode, "version")
    for _ in range(2):
        read = bytes_read(chunked_in_mode, monkeypatch)
        assert chunked_in_mode.get(Range="bytes=-10").body == BIG[-10:]
        assert sum(read) == len(BIG)


@pytest.mark.wire("data-parts")
@pytest.mark.parametrize("attribute", ["version", "total_size"])
@pytest.mark.parametrize("size", [None, len(BIG)])
def test_end_of_wrong_data_is_refused_whatever_is_unknown(
    chunked_in_mode: Memory, monkeypatch: pytest.MonkeyPatch, attribute: str, size: int | None
) -> None:
    chunked_in_mode.put(BIG, size=size)
    chunked_in_mode.store.put("i", WRONG)
    blobs_without(monkeypatch, chunked_in_mode, attribute)
    for _ in range(2):
        data = received(chunked_in_mode, Range="bytes=-10")[1]
        # If the size is unknown, the answer is the whole data.
        assert data in (b"", WRONG[: 10 * CHUNK])


@pytest.mark.wire("data-parts")
def test_part_of_data_that_nothing_verifies_is_sent(chunked_in_mode: Memory) -> None:
    chunked_in_mode.put(BIG, checksum=None)
    chunked_in_mode.store.put("i", WRONG)
    assert chunked_in_mode.get(Range="bytes=-10").body == WRONG[-10:]


@pytest.mark.wire("data-parts")
def test_part_is_resumed_while_it_is_hashed(chunked_in_mode: Memory) -> None:
    chunked_in_mode.store.fail(BackendUnavailable("reset"), at=3 * CHUNK)
    assert chunked_in_mode.get(Range="bytes=-10").body == BIG[-10:]


@pytest.mark.wire("data-parts")
def test_data_replaced_while_its_part_is_opened_again_is_refused(
    chunked_in_mode: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    opens = chunked_in_mode.store.open

    def open_and_replace(*args: Any, **wanted: Any) -> Any:
        try:
            return opens(*args, **wanted)
        finally:
            chunked_in_mode.store.put("i", BIG)

    monkeypatch.setattr(chunked_in_mode.store, "open", open_and_replace)
    assert received(chunked_in_mode, Range="bytes=-10") == (503, b"")


@pytest.mark.wire("data-wrong-again")
def test_wrong_data_is_not_read_again(
    chunked_in_mode: Memory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    chunked_in_mode.store.put("i", WRONG)
    assert received(chunked_in_mode) == (200, WRONG[: 10 * CHUNK])
    read = bytes_read(chunked_in_mode, monkeypatch)
    for headers in ({}, {"Range": "bytes=0-99"}, {"Range": "bytes=-10"}):
        assert received(chunked_in_mode, **headers) == (500, b"")
    assert read == []
    assert "had the wrong md5 less than 60 seconds ago" in caplog.text


@pytest.mark.wire("data-wrong-again")
def test_wrong_data_is_read_again_after_a_minute(
    chunked_in_mode: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunked_in_mode.store.put("i", WRONG)
    received(chunked_in_mode)
    now = time.monotonic() + WRONG_SECONDS
    monkeypatch.setattr("imageapi.download.checksum.time.monotonic", lambda: now)
    assert received(chunked_in_mode) == (200, WRONG[: 10 * CHUNK])


@pytest.mark.wire("data-wrong-again")
@pytest.mark.parametrize(
    ("attribute", "status"), [("is_settled", 200), ("is_trusted", 500), (None, 500)]
)
def test_wrong_data_that_was_not_settled_is_read_again(
    chunked_in_mode: Memory, monkeypatch: pytest.MonkeyPatch, attribute: str | None, status: int
) -> None:
    opens = chunked_in_mode.store.open

    def open_unsettled(*args: Any, **wanted: Any) -> Any:
        blob = opens(*args, **wanted)
        if attribute:
            setattr(blob, attribute, False)
        return blob

    monkeypatch.setattr(chunked_in_mode.store, "open", open_unsettled)
    chunked_in_mode.store.put("i", WRONG)
    assert received(chunked_in_mode) == (200, WRONG[: 10 * CHUNK])
    assert received(chunked_in_mode)[0] == status


@pytest.mark.wire("data-wrong-again")
def test_data_that_replaces_wrong_data_is_served_at_once(chunked_in_mode: Memory) -> None:
    chunked_in_mode.store.put("i", WRONG)
    received(chunked_in_mode)
    chunked_in_mode.store.put("i", BIG)
    assert chunked_in_mode.get().body == BIG


@pytest.mark.wire("data-locations")
def test_part_is_not_taken_from_a_location_after_wrong_data(chunked_in_mode: Memory) -> None:
    """The client has wrong bytes of the first location. Right bytes must not complete them."""
    chunked_in_mode.put(BIG, locations=(Location("memory:i"), Location("memory:i", "second")))
    chunked_in_mode.store.put("i", WRONG)
    chunked_in_mode.second.put("i", BIG)
    assert received(chunked_in_mode, Range="bytes=-10") == (500, b"")
    assert received(chunked_in_mode, Range="bytes=-10") == (500, b"")
    assert received(chunked_in_mode, Range="bytes=0-99") == (206, BIG[:100])
    assert received(chunked_in_mode) == (200, BIG)


@pytest.mark.wire("who-empty")
@pytest.mark.parametrize(
    "hashes",
    [
        {"checksum": "0" * 32},
        {"os_hash_algo": "sha256", "os_hash_value": "0" * 64},
        {"os_hash_algo": "no-such-hash", "os_hash_value": "00"},
    ],
)
def test_empty_image_with_the_hash_of_other_bytes_is_refused(
    chunked_in_mode: Memory, hashes: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    chunked_in_mode.put(b"", **hashes)
    assert chunked_in_mode.get().status_code == 500
    assert caplog.text.count("image 'i': its record: ") == 1
    assert chunked_in_mode.head().status_code == 200
    chunked_in_mode.put(b"")
    assert chunked_in_mode.get().status_code == 200
    chunked_in_mode.put(b"", checksum=None)
    assert chunked_in_mode.get().status_code == 200
