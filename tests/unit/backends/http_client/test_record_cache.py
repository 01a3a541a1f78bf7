# SPDX-License-Identifier: Apache-2.0
import pytest

from imageapi.backends.http_client.record_cache import RecordCache
from imageapi.errors import MalformedImage
from imageapi.image import Image
from tests.unit.backends.upstream import Time


def numbered_image(number: int, size: int = 1) -> Image:
    return Image(id=str(number), status="active", properties={"x": "y" * size})


@pytest.mark.parametrize("ttl", [0, 60])
def test_memory_is_bounded(ttl: float) -> None:
    remembered = RecordCache(ttl)
    for number in range(30):
        remembered.replace(number, "etag", numbered_image(number, 900_000), remembered.now())
    kept = [number for number in range(30) if remembered.get(number)]
    assert 5 < len(kept) < 10
    assert kept[-1] == 29


def test_a_record_is_remembered_with_its_etag_until_another_takes_its_place() -> None:
    remembered = RecordCache()
    remembered.replace("key", "first", numbered_image(1), 0)
    remembered.replace("key", "second", numbered_image(2), 1)
    known = remembered.known("key")
    assert known is not None
    assert (known.etag, known.found) == ("second", numbered_image(2))
    assert remembered.known("other") is None


def test_what_has_no_etag_or_is_too_large_is_not_remembered() -> None:
    remembered = RecordCache()
    for etag, size in (("", 1), ("etag", 20_000_000)):
        remembered.replace("key", "etag", numbered_image(1), 0)
        remembered.replace("key", etag, numbered_image(2, size), 1)
        assert remembered.get("key") is None


def test_no_record_is_fresh_without_a_time(record_time: Time) -> None:
    remembered = RecordCache()
    remembered.replace("key", "etag", numbered_image(1), record_time.now)
    assert remembered.fresh("key") is None


@pytest.mark.parametrize("etag", ["etag", ""])
@pytest.mark.parametrize("found", [numbered_image(1), MalformedImage("no JSON")])
def test_a_record_is_fresh_for_some_seconds_from_the_request(
    record_time: Time, etag: str, found: Image | MalformedImage
) -> None:
    remembered = RecordCache(10)
    asked = record_time.now
    record_time.now += 3  # until the response
    remembered.replace("key", etag, found, asked)
    record_time.now += 6.9
    assert remembered.fresh("key") is found
    assert remembered.fresh("other") is None
    record_time.now += 0.2
    assert remembered.fresh("key") is None
    assert (remembered.known("key") is None) == (etag == "")


def test_a_renewed_record_is_fresh_from_its_last_request(record_time: Time) -> None:
    remembered = RecordCache(10)
    remembered.replace("key", "etag", numbered_image(1), record_time.now)
    known = remembered.known("key")
    assert known is not None
    record_time.now += 11
    remembered.renew("key", known, record_time.now)
    record_time.now += 9
    assert remembered.fresh("key") is known.found


def test_a_record_that_the_upstream_denies_is_only_good_for_revalidation(
    record_time: Time,
) -> None:
    remembered = RecordCache(10)
    for key, etag in (("key", "etag"), ("other", "")):
        remembered.replace(key, etag, numbered_image(1), record_time.now)
        remembered.expire(key)
        assert remembered.fresh(key) is None
    known = remembered.known("key")
    assert known is not None
    assert known.etag == "etag"
    assert remembered.known("other") is None
    remembered.renew("key", known, record_time.now)
    assert remembered.fresh("key") is known.found


def test_a_slow_response_does_not_bring_an_older_record_back(record_time: Time) -> None:
    remembered = RecordCache(10)
    first, second = record_time.now, record_time.now + 1
    record_time.now += 2
    remembered.replace("key", "new", numbered_image(2), second)
    remembered.replace("key", "old", numbered_image(1), first)
    assert remembered.fresh("key") == numbered_image(2)
