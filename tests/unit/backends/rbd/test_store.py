# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator
from contextlib import closing

import pytest

from imageapi.backends.base import Blob
from imageapi.backends.rbd import store as store_module
from imageapi.backends.rbd.store import RBDStore
from imageapi.caller import ANONYMOUS
from imageapi.errors import BackendUnavailable, DataChanged, LocationRefused
from imageapi.image import Location
from imageapi.testing.suite import build
from tests.unit.backends.rbd.fake_ceph import DATA, FSID, URL, FakeCeph

MIB = 1024 * 1024


@pytest.fixture
def rbd_store(fake_ceph: FakeCeph) -> Iterator[RBDStore]:
    store = build(RBDStore, user="ann")
    yield store
    store.close()
    assert not fake_ceph.open


def rbd_blob(
    store: RBDStore,
    url: str = URL,
    start: int = 0,
    stop: int | None = None,
    version: str | None = None,
) -> Blob:
    location = Location(url)
    return store.open(location, start=start, stop=stop, version=version, caller=ANONYMOUS)


@pytest.mark.parametrize(
    ("start", "stop", "data"),
    [
        (0, None, DATA),
        (200, None, DATA[200:]),
        (3, 4, DATA[3:4]),
        (0, 1000, DATA),
        (250, None, b""),
        (1000, None, b""),
    ],
)
def test_parts(rbd_store: RBDStore, start: int, stop: int | None, data: bytes) -> None:
    with closing(rbd_blob(rbd_store, start=start, stop=stop)) as blob:
        assert (blob.total_size, blob.version) == (len(DATA), "7 id 5")
        assert b"".join(blob) == data


def test_a_fast_client_gets_larger_chunks(fake_ceph: FakeCeph, rbd_store: RBDStore) -> None:
    fake_ceph.data = bytes(5 * MIB)
    with closing(rbd_blob(rbd_store)) as blob:
        assert len(next(blob)) == MIB // 4
        blob.preferred_chunk_size = MIB // 2
        assert len(next(blob)) == 2 * MIB
        blob.preferred_chunk_size = 0
        # It was read ahead.
        assert len(next(blob)) == 2 * MIB
        assert len(next(blob)) == MIB // 4
    assert sum(length for _, length in fake_ceph.reads) == 4 * MIB + MIB // 2
    rbd_store._chunk_size = 3 * MIB
    with closing(rbd_blob(rbd_store)) as blob:
        assert len(next(blob)) == 3 * MIB


def test_a_wsgi_server_whose_client_is_fast(
    fake_ceph: FakeCeph, rbd_store: RBDStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(store_module, "monotonic", lambda: now)
    fake_ceph.data = bytes(40 * MIB)
    with closing(rbd_blob(rbd_store)) as blob:
        assert {len(next(blob)) for _ in range(64)} == {MIB // 4}
        assert [len(next(blob)) for _ in range(2)] == [2 * MIB] * 2
        now += 0.2
        # It was read ahead.
        assert len(next(blob)) == 2 * MIB
        assert {len(next(blob)) for _ in range(56)} == {MIB // 4}
        assert len(next(blob)) == 2 * MIB


def test_another_version(rbd_store: RBDStore) -> None:
    with closing(rbd_blob(rbd_store, version="7 id 5")) as blob:
        assert b"".join(blob) == DATA
    with pytest.raises(DataChanged):
        rbd_blob(rbd_store, version="7 id 4")


def test_pool_is_refused_before_connecting(fake_ceph: FakeCeph, rbd_store: RBDStore) -> None:
    with pytest.raises(LocationRefused, match="allowed_pools"):
        rbd_blob(rbd_store, f"rbd://{FSID}/other/i/snap")
    assert not fake_ceph.connected


def test_foreign_cluster(rbd_store: RBDStore) -> None:
    with pytest.raises(LocationRefused, match=FSID):
        rbd_blob(rbd_store, "rbd://other/images/i/snap")


def test_locate(rbd_store: RBDStore) -> None:
    assert rbd_store.locate("a/b").url == "rbd://a%2Fb"
    with closing(rbd_blob(rbd_store, rbd_store.locate("i").url)) as blob:
        assert b"".join(blob) == DATA


def test_check(fake_ceph: FakeCeph, rbd_store: RBDStore) -> None:
    assert rbd_store.check() == f"pool images of Ceph cluster {FSID}"
    fake_ceph.pools.clear()
    with pytest.raises(BackendUnavailable, match=f"pool images of Ceph cluster {FSID}"):
        rbd_store.check()


def test_a_dropped_blob_is_closed(fake_ceph: FakeCeph, rbd_store: RBDStore) -> None:
    blob = rbd_blob(rbd_store)
    assert len(fake_ceph.open) == 3
    del blob
    assert len(fake_ceph.open) == 1
