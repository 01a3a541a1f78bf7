# SPDX-License-Identifier: Apache-2.0
import pytest

from imageapi import checksum
from imageapi.checksum import Checksum, Verified
from imageapi.image import Location

MD5 = Checksum("md5", "0" * 32)
PLACE = Location("memory:i")


def test_only_the_same_bytes_are_verified() -> None:
    verified = Verified()
    verified.add("s", PLACE, "1", MD5)
    assert verified.has("s", PLACE, "1", MD5)
    assert not verified.has("t", PLACE, "1", MD5)
    assert not verified.has("s", Location("memory:j"), "1", MD5)
    assert not verified.has("s", PLACE, "2", MD5)
    assert not verified.has("s", PLACE, "1", Checksum("md5", "1" * 32))


def remembered(monkeypatch: pytest.MonkeyPatch, url: str) -> list[bool]:
    """Which of ten versions, one after the other verified, are remembered in 5,000 bytes."""
    monkeypatch.setattr(checksum, "_REMEMBERED_BYTES", 5000)
    verified = Verified()
    versions = "0123456789"
    for version in versions:
        verified.add("s", Location(url), version, MD5)
    return [verified.has("s", Location(url), version, MD5) for version in versions]


def test_what_is_verified_is_remembered_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = remembered(monkeypatch, "memory:i")
    assert 5 <= sum(kept) <= 9
    assert kept == sorted(kept)
    assert 1 <= sum(remembered(monkeypatch, "memory:" + "x" * 2000)) <= 2
    assert sum(remembered(monkeypatch, "memory:" + "x" * 5000)) == 0
