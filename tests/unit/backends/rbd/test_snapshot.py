# SPDX-License-Identifier: Apache-2.0
import errno
import os
from contextlib import closing

import pytest

from imageapi.backends.rbd.cluster import Cluster, Connection
from imageapi.backends.rbd.location import RBDLocation
from imageapi.backends.rbd.snapshot import Snapshot
from imageapi.errors import (
    BackendError,
    BackendUnavailable,
    BadReply,
    DataChanged,
    DataNotFound,
    LocationRefused,
)
from tests.unit.backends.rbd.fake_ceph import DATA, FakeCeph, FakeError, FakeImage


@pytest.fixture(name="connection")
def only_connection(fake_ceph: FakeCeph) -> Connection:
    """A connection that only the snapshot retains."""
    cluster = Cluster("/etc/c.conf", "ann", 3, 20)
    connection = cluster.connect()
    cluster.close()
    return connection


def open_snapshot(connection: Connection, image: str = "i", pool: str = "images") -> Snapshot:
    return Snapshot(connection, RBDLocation(None, None, image), pool)


def test_reads(connection: Connection, fake_ceph: FakeCeph) -> None:
    snapshot = open_snapshot(connection)
    assert (snapshot.size, snapshot.version) == (len(DATA), "7 id 5")
    assert snapshot.read(10, 20) == DATA[10:30]
    snapshot.close()
    snapshot.close()
    assert not fake_ceph.open
    with pytest.raises(BackendUnavailable, match="is closed"):
        snapshot.read(0, 1)


@pytest.mark.parametrize(
    ("image", "pool", "kind", "told"),
    [
        ("other", "images", DataNotFound, "images/other@snap: no such image or snapshot"),
        ("i", "other", BackendUnavailable, "no pool 'other'"),
    ],
)
def test_what_is_missing(
    connection: Connection,
    fake_ceph: FakeCeph,
    image: str,
    pool: str,
    kind: type[BackendError],
    told: str,
) -> None:
    with pytest.raises(kind, match=told):
        open_snapshot(connection, image, pool)
    assert not fake_ceph.open


def test_pool_that_has_just_been_removed(connection: Connection, fake_ceph: FakeCeph) -> None:
    """It can still be opened, with an old map of the cluster, and then lacks the image."""
    fake_ceph.images.clear()
    fake_ceph.rbd.__dict__["Image"] = remove_pool_and_fail(fake_ceph)
    with pytest.raises(BackendUnavailable, match="no pool 'images'"):
        open_snapshot(connection)
    assert not fake_ceph.open


def remove_pool_and_fail(fake_ceph: FakeCeph) -> object:
    image = fake_ceph.rbd.Image

    def open_image(*arguments: object, **named: object) -> object:
        fake_ceph.pools.clear()
        return image(*arguments, **named)

    return open_image


@pytest.mark.parametrize("status", [b"\x00", b"\x01", None])
def test_snapshot_without_protection(
    connection: Connection, fake_ceph: FakeCeph, status: bytes | None
) -> None:
    fake_ceph.status = status
    with pytest.raises(LocationRefused, match="run rbd snap protect images/i@snap"):
        open_snapshot(connection)
    assert not fake_ceph.open


@pytest.mark.parametrize("status", [b"\x00", b"\x01", None])
def test_data_that_may_be_zeros_is_not_returned(
    connection: Connection, fake_ceph: FakeCeph, status: bytes | None
) -> None:
    snapshot = open_snapshot(connection)
    fake_ceph.status = status
    with pytest.raises(DataChanged, match="removed, or is no longer protected"):
        snapshot.read(0, 10)
    snapshot.close()
    assert not fake_ceph.open


def test_short_read(connection: Connection, fake_ceph: FakeCeph) -> None:
    snapshot = open_snapshot(connection)
    fake_ceph.read = lambda _offset, _length: b"four"
    with pytest.raises(BackendUnavailable, match="4 of 10 bytes"):
        snapshot.read(0, 10)
    snapshot.close()


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ETIMEDOUT, BackendUnavailable), (errno.EPERM, BadReply)]
)
def test_errors_of_reading(
    connection: Connection, fake_ceph: FakeCeph, number: int, kind: type[BackendError]
) -> None:
    with closing(open_snapshot(connection)) as snapshot:
        told = f"images/i@snap: {os.strerror(number)}"
        fake_ceph.read_code = -number
        with pytest.raises(kind, match=told):
            snapshot.read(0, 10)
        fake_ceph.read_code, fake_ceph.status_code = 0, -number
        with pytest.raises(kind, match=told):
            snapshot.read(0, 10)


def test_reads_ahead(connection: Connection, fake_ceph: FakeCeph) -> None:
    with closing(open_snapshot(connection)) as snapshot:
        assert snapshot.read(10, 20, ahead=30) == DATA[10:30]
        assert fake_ceph.reads == [(10, 20), (30, 30)]
        # What was read ahead is returned as a whole.
        assert snapshot.read(30, 5) == DATA[30:60]
        assert snapshot.read(60, 5, ahead=5) == DATA[60:65]
        assert snapshot.read(100, 5) == DATA[100:105]
        assert fake_ceph.reads[2:] == [(60, 5), (65, 5), (100, 5)]


def test_what_was_read_ahead_may_be_zeros_too(connection: Connection, fake_ceph: FakeCeph) -> None:
    with closing(open_snapshot(connection)) as snapshot:
        snapshot.read(0, 10, ahead=10)
        fake_ceph.status = b"\x00"
        with pytest.raises(DataChanged, match="removed, or is no longer protected"):
            snapshot.read(10, 10)


def test_closed_by_another_thread_while_it_reads(
    connection: Connection, fake_ceph: FakeCeph
) -> None:
    """The reader closes it, since librbd must not close an image that it reads."""
    snapshot = open_snapshot(connection)

    def read(offset: int, length: int) -> bytes:
        snapshot.close()
        assert len(fake_ceph.open) == 3
        return DATA[offset : offset + length]

    fake_ceph.read = read
    assert snapshot.read(0, 10) == DATA[:10]
    assert not fake_ceph.open


def test_error_of_closing_is_ignored(
    connection: Connection, fake_ceph: FakeCeph, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = FakeImage.close

    def close_and_fail(image: FakeImage) -> None:
        close(image)
        raise FakeError("cannot close")

    monkeypatch.setattr(FakeImage, "close", close_and_fail)
    open_snapshot(connection).close()
    assert not fake_ceph.open


def test_a_forked_process_touches_nothing(
    connection: Connection, fake_ceph: FakeCeph, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = open_snapshot(connection)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(BackendUnavailable, match="before a fork"):
        snapshot.read(0, 10)
    snapshot.close()
    assert len(fake_ceph.open) == 3
