# SPDX-License-Identifier: Apache-2.0
"""The Swift registry and the Swift store pass the conformance suites, with a real Swift."""

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
import testtools

from imageapi import document
from imageapi.backends.swift.location import SwiftLocation
from imageapi.backends.swift.registry import SwiftRegistry
from imageapi.backends.swift.store import SwiftStore
from imageapi.image import Image, Location
from imageapi.testing.data_writer_suite import DataWriterSuite
from imageapi.testing.list_suite import ListSuite
from imageapi.testing.record_writer_suite import RecordWriterSuite
from imageapi.testing.registry_suite import RegistrySuite
from imageapi.testing.store_suite import StoreSuite
from imageapi.testing.suite import build
from tests.conformance.test_memory import with_wrong_byte
from tests.functional.servers import free_port
from tests.functional.swift import KEY, Swift, running_swift, upload_dlo, upload_slo, v1_options

NUMBERS = itertools.count(1)


@pytest.fixture(scope="module", autouse=True)
def swift_of_suites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with running_swift(tmp_path_factory.mktemp("swift")) as server:
        SwiftStoreSuite.swift = SwiftRegistrySuite.swift = server
        yield


def unreachable() -> dict[str, Any]:
    url = f"http://127.0.0.1:{free_port()}/v1/AUTH_acme"
    return {"auth_type": "none", "endpoint_override": url, "connect_retries": 0}


def damage_newest_object(swift: Swift) -> None:
    """Change a byte in the file of the object that was written last."""
    files = swift.devices.glob("objects/**/*.data")
    newest = max(files, key=lambda path: path.stat().st_mtime_ns)
    with newest.open("r+b") as file:
        data = with_wrong_byte(file.read())
        file.seek(0)
        file.write(data)


class SwiftStoreSuite(StoreSuite, mixin=True):
    swift: Swift
    secrets = (KEY,)
    moments = 8

    def make_store(self) -> SwiftStore:
        self.container = f"case-{next(NUMBERS)}"
        self.client = self.swift.client()
        self.addCleanup(self.client.close)
        self.client.put_container(self.container)
        return build(SwiftStore, container=self.container, **v1_options(self.swift))

    def put(self, data: bytes) -> Location:
        location = self.store.locate(f"number {next(NUMBERS)}")
        self.replace(location, data)
        return location

    def make_unreachable(self) -> tuple[SwiftStore, Location]:
        store = build(SwiftStore, container="any", **unreachable())
        return store, store.locate("any")

    def replace(self, location: Location, data: bytes) -> None:
        self.client.put_object(self.container, self.name_of(location), data)

    def remove(self, location: Location) -> None:
        self.client.delete_object(self.container, self.name_of(location))

    def put_at(self, location: Location, data: bytes) -> None:
        self.replace(location, data)

    def forbidden(self) -> Iterator[Location]:
        other = f"{self.container}-other"
        self.client.put_container(other)
        self.client.put_object(other, "secret", b"not for clients")
        for path in (f"{other}/secret", f"{self.container}/../{other}/secret"):
            yield Location(f"swift://{path}")
        yield Location(f"swift://{self.container}/..%2F{other}%2Fsecret")

    def damage(self, location: Location) -> None:
        """Change the object's file: Swift sends it once, and then says that it is missing."""
        damage_newest_object(self.swift)

    def name_of(self, location: Location) -> str:
        return SwiftLocation.parse(location.url).name


class TestPlainObjects(DataWriterSuite, SwiftStoreSuite, testtools.TestCase):
    pass


class TestStaticLargeObjects(SwiftStoreSuite, testtools.TestCase):
    def replace(self, location: Location, data: bytes) -> None:
        if data:
            upload_slo(self.client, self.container, self.name_of(location), halves(data))
        else:
            # There is no empty one.
            super().replace(location, data)

    def damage(self, location: Location) -> None:
        name = f"{self.name_of(location)}/slo/00000001"
        self.client.delete_object(f"{self.container}_segments", name)


class TestDynamicLargeObjects(SwiftStoreSuite, testtools.TestCase):
    def damage(self, location: Location) -> None:
        name = f"{self.name_of(location)}/dlo/00000001"
        self.client.delete_object(f"{self.container}_segments", name)

    def replace(self, location: Location, data: bytes) -> None:
        upload_dlo(self.client, self.container, self.name_of(location), halves(data))


def halves(data: bytes) -> list[bytes]:
    middle = len(data) // 2
    return [part for part in (data[:middle], data[middle:]) if part]


class SwiftRegistrySuite(RegistrySuite, mixin=True):
    swift: Swift
    secrets = (KEY,)
    moments = 4

    def make_registry(self) -> SwiftRegistry:
        self.container = f"case-{next(NUMBERS)}"
        self.client = self.swift.client()
        self.addCleanup(self.client.close)
        self.client.put_container(self.container)
        return build(SwiftRegistry, container=self.container, **v1_options(self.swift))

    def put(self, image: Image) -> None:
        data = json.dumps(document.record(image)).encode()
        self.client.put_object(self.container, f"{image.id}.json", data)

    def make_unreachable(self) -> SwiftRegistry:
        return build(SwiftRegistry, container="any", **unreachable())

    def remove(self, image_id: str) -> None:
        self.client.delete_object(self.container, f"{image_id}.json")

    def put_malformed(self, image_id: str) -> None:
        self.client.put_object(self.container, f"{image_id}.json", b"{")


class TestSwiftRegistry(RecordWriterSuite, ListSuite, SwiftRegistrySuite, testtools.TestCase):
    pass
