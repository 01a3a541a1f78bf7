# SPDX-License-Identifier: Apache-2.0
"""The store rbd passes the conformance suite, with a real Ceph."""

import itertools
from collections.abc import Iterator

import pytest
import testtools

from imageapi.backends.rbd.location import RBDLocation
from imageapi.backends.rbd.store import RBDStore
from imageapi.image import Location
from imageapi.testing.store_suite import StoreSuite
from imageapi.testing.suite import build
from tests.functional.ceph import USER, Ceph, needs_ceph, running_ceph
from tests.functional.servers import free_port

NUMBERS = itertools.count(1)

pytestmark = needs_ceph


@pytest.fixture(scope="module", autouse=True)
def ceph_of_suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with running_ceph(tmp_path_factory.mktemp("ceph")) as server:
        TestRBDStore.ceph = server
        TestRBDStore.pool = server.new_pool()
        yield


class TestRBDStore(StoreSuite, testtools.TestCase):
    ceph: Ceph
    pool: str

    def make_store(self) -> RBDStore:
        return build(RBDStore, ceph_conf=str(self.ceph.config), user=USER, pool=self.pool)

    def put(self, data: bytes) -> Location:
        name = f"number {next(NUMBERS)}"
        self.ceph.put(self.pool, name, data)
        return Location(self.ceph.url(self.pool, name))

    def make_unreachable(self) -> tuple[RBDStore, Location]:
        config = self.ceph.config.with_name(f"unreachable-{next(NUMBERS)}.conf")
        config.write_text(f"[global]\nmon host = v2:127.0.0.1:{free_port()}\n")
        store = build(RBDStore, ceph_conf=str(config), connect_timeout=1)
        return store, store.locate("any")

    def replace(self, location: Location, data: bytes) -> None:
        self.remove(location)
        self.ceph.put(self.pool, self.name_of(location), data)

    def remove(self, location: Location) -> None:
        self.ceph.remove(self.pool, self.name_of(location))

    def put_at(self, location: Location, data: bytes) -> None:
        self.ceph.put(self.pool, self.name_of(location), data)

    def damage(self, location: Location) -> None:
        self.ceph.damage(self.pool, self.name_of(location))

    def forbidden(self) -> Iterator[Location]:
        other = self.ceph.new_pool()
        self.ceph.put(other, "one", b"not for clients")
        yield Location(self.ceph.url(other, "one"))
        self.ceph.put(self.pool, "of another cluster", b"data")
        url = self.ceph.url(self.pool, "of another cluster")
        yield Location(url.replace(self.ceph.fsid, "00000000-0000-4000-8000-000000000000"))

    def name_of(self, location: Location) -> str:
        return RBDLocation.parse(location.url).image
