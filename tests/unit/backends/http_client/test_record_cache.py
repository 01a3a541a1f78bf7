# SPDX-License-Identifier: Apache-2.0
from imageapi.backends.http_client.record_cache import RecordCache
from imageapi.image import Image


def numbered_image(number: int, size: int = 1) -> Image:
    return Image(id=str(number), status="active", properties={"x": "y" * size})


def test_memory_is_bounded() -> None:
    remembered = RecordCache()
    for number in range(30):
        remembered.replace(number, "etag", numbered_image(number, 900_000))
    kept = [number for number in range(30) if remembered.get(number)]
    assert 5 < len(kept) < 10
    assert kept[-1] == 29


def test_a_record_is_remembered_with_its_etag_until_another_takes_its_place() -> None:
    remembered = RecordCache()
    remembered.replace("key", "first", numbered_image(1))
    remembered.replace("key", "second", numbered_image(2))
    known = remembered.get("key")
    assert known is not None
    assert (known.etag, known.found) == ("second", numbered_image(2))
    assert remembered.get("other") is None


def test_what_has_no_etag_or_is_too_large_is_not_remembered() -> None:
    remembered = RecordCache()
    for etag, size in (("", 1), ("etag", 20_000_000)):
        remembered.replace("key", "etag", numbered_image(1))
        remembered.replace("key", etag, numbered_image(2, size))
        assert remembered.get("key") is None
