# SPDX-License-Identifier: Apache-2.0
"""The registry and the store in memory pass the conformance suites."""

import itertools
from typing import Any
from urllib.parse import unquote

import testtools

from imageapi.backends.base import Blob
from imageapi.errors import RangeNotSupported
from imageapi.image import Image, Location
from imageapi.testing.fakes import FailingStore, MemoryRegistry, MemoryStore
from imageapi.testing.list_suite import ListSuite
from imageapi.testing.registry_suite import RegistrySuite
from imageapi.testing.store_suite import StoreSuite
from imageapi.testing.suite import build


def with_wrong_byte(data: bytes) -> bytes:
    """Data of which the middle byte is wrong."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


class MemoryStoreSuite(StoreSuite, mixin=True):
    """The store in memory, and stores with faults that derive from it."""

    store: MemoryStore
    backend_class: type[MemoryStore] = MemoryStore

    def make_store(self) -> MemoryStore:
        self.names = map(str, itertools.count())
        return build(self.backend_class)

    def put(self, data: bytes) -> Location:
        return self.store.put(next(self.names), data)

    def make_unreachable(self) -> None:
        return None

    def replace(self, location: Location, data: bytes) -> None:
        self.store.put(location.url.removeprefix("memory:"), data)

    def remove(self, location: Location) -> None:
        self.store.remove(location.url.removeprefix("memory:"))

    def put_at(self, location: Location, data: bytes) -> None:
        self.store.put(unquote(location.url.removeprefix("memory:")), data)

    def forbidden(self) -> None:
        return None

    def damage(self, location: Location) -> None:
        name = location.url.removeprefix("memory:")
        data, version = self.store._data[name]
        self.store._data[name] = with_wrong_byte(data), version


class MemoryRegistrySuite(RegistrySuite, mixin=True):
    """The registry in memory, and registries with faults that derive from it."""

    registry: MemoryRegistry
    backend_class: type[MemoryRegistry] = MemoryRegistry

    def make_registry(self) -> MemoryRegistry:
        return build(self.backend_class)

    def put(self, image: Image) -> None:
        self.registry.put(image)

    def make_unreachable(self) -> None:
        return None

    def remove(self, image_id: str) -> None:
        self.registry.remove(image_id)

    def put_malformed(self, image_id: str) -> None:
        self.skipTest("not tested: the registry in memory has only valid Images")


class TestMemoryStore(MemoryStoreSuite, testtools.TestCase):
    pass


class TestFailingStore(MemoryStoreSuite, testtools.TestCase):
    """It passes the suite as long as it is not told to fail."""

    backend_class = FailingStore


class WholeOnlyStore(MemoryStore):
    """Reads no ranges, and raises RangeNotSupported."""

    ranges = False

    def open(self, location: Location, **asked: Any) -> Blob:
        if asked.get("start") or asked.get("stop") is not None:
            raise RangeNotSupported("only the whole")
        return super().open(location, **asked)


class TestWholeOnlyStore(MemoryStoreSuite, testtools.TestCase):
    backend_class = WholeOnlyStore


class TestMemoryRegistry(MemoryRegistrySuite, ListSuite, testtools.TestCase):
    pass
