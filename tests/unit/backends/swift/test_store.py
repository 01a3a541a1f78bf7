# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator

import pytest

from imageapi.backends.base import Blob
from imageapi.backends.swift.store import SwiftStore
from imageapi.caller import ANONYMOUS
from imageapi.errors import DataChanged, DataNotFound, LocationRefused
from imageapi.image import Location
from imageapi.testing.suite import build
from tests.unit.backends.swift.fake_swift import NOWHERE, FakeSwift
from tests.unit.backends.upstream import response

PATH = "/images/a/i"
VERSION = "0123abc 1700000000.12345"


@pytest.fixture
def swift_store(memory_swift: FakeSwift, monkeypatch: pytest.MonkeyPatch) -> Iterator[SwiftStore]:
    store = build(
        SwiftStore,
        container="images",
        object_prefix="a/",
        allowed_containers=["old", "glance_*"],
        **NOWHERE,
    )
    monkeypatch.setattr(store.account, "request", memory_swift.request)
    yield store
    store.close()


def opened_image(store: SwiftStore, version: str | None = None, start: int = 0) -> Blob:
    blob = store.open(store.locate("i"), start=start, version=version, caller=ANONYMOUS)
    blob.close()
    return blob


def test_a_record_without_a_location_is_in_the_container_under_the_prefix(
    swift_store: SwiftStore,
) -> None:
    assert swift_store.locate("i").url == "swift://images/a/i"


@pytest.mark.parametrize("container", ["images", "old", "glance_", "glance_7"])
def test_allowed_containers_are_read(
    swift_store: SwiftStore, memory_swift: FakeSwift, container: str
) -> None:
    memory_swift.objects[f"/{container}/i"] = b"data"
    blob = swift_store.open(Location(f"swift://{container}/i"), caller=ANONYMOUS)
    assert b"".join(blob) == b"data"
    blob.close()


@pytest.mark.parametrize("container", ["records", "images2", "old2", "glance"])
def test_no_other_container_is_requested(
    swift_store: SwiftStore, memory_swift: FakeSwift, container: str
) -> None:
    with pytest.raises(LocationRefused, match="allowed_containers"):
        swift_store.open(Location(f"swift://{container}/i"), caller=ANONYMOUS)
    assert memory_swift.requests == []


@pytest.mark.parametrize("etag", ["0123abc", '"0123abc"'])
def test_a_version_is_etag_and_time_and_is_requested_by_its_etag(
    swift_store: SwiftStore, memory_swift: FakeSwift, etag: str
) -> None:
    headers = {"ETag": etag, "X_Timestamp": "1700000000.12345"}
    memory_swift.answers["GET", PATH] = response(200, b"", **headers)
    assert opened_image(swift_store).version == VERSION
    memory_swift.answers["GET", PATH] = response(200, b"", **headers)
    assert opened_image(swift_store, VERSION).version == VERSION
    assert memory_swift.requests[1] == (f"GET {PATH}", {"If-Match": '"0123abc"'})


def test_the_same_etag_at_another_time_is_another_version(
    swift_store: SwiftStore, memory_swift: FakeSwift
) -> None:
    memory_swift.answers["GET", PATH] = response(200, ETag="0123abc", X_Timestamp="1700000001.0")
    with pytest.raises(DataChanged):
        opened_image(swift_store, VERSION)


def test_a_failed_precondition_means_a_change_only_if_there_was_one(
    swift_store: SwiftStore, memory_swift: FakeSwift
) -> None:
    memory_swift.answers["GET", PATH] = response(412)
    with pytest.raises(DataNotFound):
        opened_image(swift_store)
    with pytest.raises(DataChanged):
        opened_image(swift_store, VERSION)


def test_a_dynamic_large_object_is_never_settled(
    swift_store: SwiftStore, memory_swift: FakeSwift
) -> None:
    memory_swift.answers["GET", PATH] = response(200, X_Object_Manifest="images/parts")
    assert not opened_image(swift_store).is_settled
    memory_swift.answers["GET", PATH] = response(200)
    assert opened_image(swift_store).is_settled
