# SPDX-License-Identifier: Apache-2.0
import json
from collections.abc import Iterator

import pytest

from imageapi.backends.swift.registry import SwiftRegistry
from imageapi.caller import ANONYMOUS
from imageapi.errors import BackendUnavailable, ImageNotFound, MalformedImage
from imageapi.testing.suite import build
from tests.unit.backends.swift.fake_swift import NOWHERE, FakeSwift
from tests.unit.backends.upstream import Time, response

RECORD = json.dumps({"id": "i", "status": "active"}).encode()
PATH = "/records/a/i.json"


@pytest.fixture
def swift_registry(
    memory_swift: FakeSwift, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SwiftRegistry]:
    registry = build(SwiftRegistry, container="records", object_prefix="a/", **NOWHERE)
    monkeypatch.setattr(registry.account, "request", memory_swift.request)
    yield registry
    registry.close()


def test_a_record_is_the_newest_copy_of_an_object(
    swift_registry: SwiftRegistry, memory_swift: FakeSwift
) -> None:
    memory_swift.objects[PATH] = RECORD
    assert swift_registry.get("i", ANONYMOUS).id == "i"
    assert memory_swift.requests == [(f"GET {PATH}", {"X-Newest": "true"})]


def test_a_record_is_requested_again_with_its_etag(
    swift_registry: SwiftRegistry, memory_swift: FakeSwift
) -> None:
    memory_swift.answers["GET", PATH] = response(200, RECORD, ETag="e")
    image = swift_registry.get("i", ANONYMOUS)
    memory_swift.answers["GET", PATH] = response(304)
    assert swift_registry.get("i", ANONYMOUS) is image
    assert memory_swift.requests[1][1]["If-None-Match"] == "e"


def test_a_malformed_record_is_an_error_of_its_own_each_time(
    swift_registry: SwiftRegistry, memory_swift: FakeSwift
) -> None:
    errors = []
    for answer in (response(200, b"{}", ETag="e"), response(304)):
        memory_swift.answers["GET", PATH] = answer
        with pytest.raises(MalformedImage) as caught:
            swift_registry.get("i", ANONYMOUS)
        errors.append(caught.value)
    assert errors[0] is not errors[1]
    assert str(errors[0]) == str(errors[1])


@pytest.fixture
def remembering_registry(
    memory_swift: FakeSwift, monkeypatch: pytest.MonkeyPatch, record_time: Time
) -> Iterator[SwiftRegistry]:
    """Remembers records for ten seconds of `record_time`."""
    registry = build(
        SwiftRegistry, container="records", object_prefix="a/", record_ttl=10, **NOWHERE
    )
    monkeypatch.setattr(registry.account, "request", memory_swift.request)
    yield registry
    registry.close()


def test_a_fresh_record_is_not_requested_again(
    remembering_registry: SwiftRegistry, memory_swift: FakeSwift, record_time: Time
) -> None:
    memory_swift.objects[PATH] = RECORD
    image = remembering_registry.get("i", ANONYMOUS)
    del memory_swift.objects[PATH]
    record_time.now += 9.9
    assert remembering_registry.get("i", ANONYMOUS) is image
    assert len(memory_swift.requests) == 1
    record_time.now += 0.2
    for _ in range(2):
        with pytest.raises(ImageNotFound):
            remembering_registry.get("i", ANONYMOUS)
    assert len(memory_swift.requests) == 3
    memory_swift.objects[PATH] = RECORD
    assert remembering_registry.get("i", ANONYMOUS) == image


def test_a_304_makes_a_record_fresh_again(
    remembering_registry: SwiftRegistry, memory_swift: FakeSwift, record_time: Time
) -> None:
    memory_swift.answers["GET", PATH] = response(200, RECORD, ETag="e")
    image = remembering_registry.get("i", ANONYMOUS)
    memory_swift.answers["GET", PATH] = response(304)
    for _ in range(3):
        record_time.now += 6
        assert remembering_registry.get("i", ANONYMOUS) is image
    assert len(memory_swift.requests) == 2


def test_a_fresh_malformed_record_is_an_error_of_its_own_each_time(
    remembering_registry: SwiftRegistry, memory_swift: FakeSwift
) -> None:
    memory_swift.objects[PATH] = b"{}"
    errors = []
    for _ in range(2):
        with pytest.raises(MalformedImage) as caught:
            remembering_registry.get("i", ANONYMOUS)
        errors.append(caught.value)
    assert errors[0] is not errors[1]
    assert len(memory_swift.requests) == 1


def test_the_newest_record_is_requested_and_its_absence_noticed(
    remembering_registry: SwiftRegistry, memory_swift: FakeSwift
) -> None:
    memory_swift.objects[PATH] = RECORD
    remembering_registry.get("i", ANONYMOUS)
    del memory_swift.objects[PATH]
    for get in (remembering_registry.get_newest, remembering_registry.get):
        with pytest.raises(ImageNotFound):
            get("i", ANONYMOUS)


def test_what_writes_records_reads_the_newest(
    remembering_registry: SwiftRegistry, memory_swift: FakeSwift
) -> None:
    memory_swift.objects[PATH] = RECORD
    remembering_registry.get("i", ANONYMOUS)
    memory_swift.objects[PATH] = RECORD + b" "
    assert remembering_registry.writer().read("i") == RECORD + b" "


@pytest.mark.parametrize("status", [404, 410, 412])
def test_an_object_that_does_not_exist_is_no_image(
    swift_registry: SwiftRegistry, memory_swift: FakeSwift, status: int
) -> None:
    memory_swift.answers["GET", PATH] = response(status)
    with pytest.raises(ImageNotFound):
        swift_registry.get("i", ANONYMOUS)


def test_an_id_that_no_object_can_have_is_not_requested(
    swift_registry: SwiftRegistry, memory_swift: FakeSwift
) -> None:
    with pytest.raises(ImageNotFound):
        swift_registry.get("../i", ANONYMOUS)
    assert memory_swift.requests == []


def test_a_record_that_says_it_is_too_large_is_not_read(
    swift_registry: SwiftRegistry, memory_swift: FakeSwift
) -> None:
    answer = memory_swift.answers["GET", PATH] = response(200, RECORD, Content_Length=2**20 + 1)
    with pytest.raises(MalformedImage, match="larger than 1048576 bytes"):
        swift_registry.get("i", ANONYMOUS)
    assert answer.closed


def test_a_swift_in_trouble_is_unavailable(
    swift_registry: SwiftRegistry, memory_swift: FakeSwift
) -> None:
    memory_swift.answers["GET", PATH] = response(503)
    with pytest.raises(BackendUnavailable):
        swift_registry.get("i", ANONYMOUS)
