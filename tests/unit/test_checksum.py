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


def test_what_is_verified_is_remembered_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checksum, "_REMEMBERED", 3)
    verified = Verified()
    for version in "12345":
        verified.add("s", PLACE, version, MD5)
    assert [verified.has("s", PLACE, version, MD5) for version in "12345"] == [
        False,
        False,
        True,
        True,
        True,
    ]
