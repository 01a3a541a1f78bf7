# SPDX-License-Identifier: Apache-2.0
import pytest

from imageapi.download import checksum
from imageapi.download.checksum import WRONG_SECONDS, Checksum, Compared, Verdicts

MD5 = Checksum("md5", "0" * 32)
BYTES = Compared("s", "memory:i", "1", MD5)


@pytest.mark.parametrize("is_right", [True, False])
def test_only_the_same_bytes_have_the_same_verdict(is_right: bool) -> None:
    verdicts = Verdicts()
    verdicts.add(BYTES, is_right=is_right)
    assert verdicts.is_right(BYTES) is is_right
    for other in (
        BYTES._replace(store="t"),
        BYTES._replace(url="memory:j"),
        BYTES._replace(version="2"),
        BYTES._replace(checksum=Checksum("md5", "1" * 32)),
    ):
        assert verdicts.is_right(other) is None


def test_wrong_bytes_are_compared_again_after_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("imageapi.download.checksum.time.monotonic", lambda: now)
    verdicts = Verdicts()
    verdicts.add(BYTES, is_right=False)
    now += WRONG_SECONDS - 1
    assert verdicts.is_right(BYTES) is False
    now += 1
    assert verdicts.is_right(BYTES) is None


def test_right_bytes_stay_right(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("imageapi.download.checksum.time.monotonic", lambda: now)
    verdicts = Verdicts()
    verdicts.add(BYTES, is_right=False)
    verdicts.add(BYTES, is_right=True)
    now += 2 * WRONG_SECONDS
    assert verdicts.is_right(BYTES) is True


def remembered(monkeypatch: pytest.MonkeyPatch, url: str) -> list[bool]:
    """Which of ten versions, compared one after the other, are remembered in 5,000 bytes."""
    monkeypatch.setattr(checksum, "_REMEMBERED_BYTES", 5000)
    verdicts = Verdicts()
    compared = [BYTES._replace(url=url, version=version) for version in "0123456789"]
    for one in compared:
        verdicts.add(one, is_right=False)
    return [verdicts.is_right(one) is not None for one in compared]


def test_verdicts_are_remembered_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = remembered(monkeypatch, "memory:i")
    assert 5 <= sum(kept) <= 9
    assert kept == sorted(kept)
    assert 1 <= sum(remembered(monkeypatch, "memory:" + "x" * 2000)) <= 2
    assert sum(remembered(monkeypatch, "memory:" + "x" * 5000)) == 0
