# SPDX-License-Identifier: Apache-2.0
import errno
import os
import sys
import threading
import time

import pytest

from imageapi.backends.rbd import cluster as cluster_module
from imageapi.backends.rbd.cluster import Cluster
from imageapi.errors import (
    BackendError,
    BackendUnavailable,
    BadReply,
    ConfigurationError,
    DataNotFound,
)
from tests.unit.backends.rbd.fake_ceph import FSID, FakeCeph, FakeError


@pytest.fixture
def cluster(fake_ceph: FakeCeph) -> Cluster:
    return Cluster("/etc/c.conf", "ann", 3, 20)


def test_missing_bindings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rados", None)
    with pytest.raises(ConfigurationError, match="package python3-rbd"):
        Cluster("/etc/c.conf", "ann", 3, 20)


def test_settings_of_the_connection(cluster: Cluster, fake_ceph: FakeCeph) -> None:
    assert cluster.connect().fsid == FSID
    settings = {
        "client_mount_timeout": "3",
        "rados_mon_op_timeout": "20",
        "rados_osd_op_timeout": "20",
        "rbd_cache": "false",
    }
    wanted = {"rados_id": "ann", "conffile": "/etc/c.conf", "conf": settings}
    assert fake_ceph.connected == [wanted]


def test_last_user_shuts_the_connection_down(cluster: Cluster, fake_ceph: FakeCeph) -> None:
    first, second = cluster.connect(), cluster.connect()
    assert first is second
    cluster.close()
    cluster.close()
    first.release()
    assert fake_ceph.open
    second.release()
    assert not fake_ceph.open


def test_connects_again_after_close(cluster: Cluster, fake_ceph: FakeCeph) -> None:
    cluster.connect().release()
    cluster.close()
    cluster.connect().release()
    assert len(fake_ceph.connected) == 2
    cluster.close()
    assert not fake_ceph.open


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EPERM, BadReply),
        (errno.EACCES, BadReply),
        (errno.ENAMETOOLONG, DataNotFound),
        (errno.ETIMEDOUT, BackendUnavailable),
        (0, BackendUnavailable),
    ],
)
def test_errors(
    cluster: Cluster, fake_ceph: FakeCeph, number: int, kind: type[BackendError]
) -> None:
    fake_ceph.error = FakeError("cannot connect", number)
    with pytest.raises(BackendError, match=r"/etc/c\.conf: cannot connect") as caught:
        cluster.connect()
    assert type(caught.value) is kind
    assert not fake_ceph.open
    fake_ceph.error = None
    assert cluster.connect().fsid == FSID


def test_other_errors_are_bugs(cluster: Cluster, fake_ceph: FakeCeph) -> None:
    fake_ceph.error = RuntimeError("a bug")
    with pytest.raises(RuntimeError):
        cluster.connect()
    assert not fake_ceph.open


def test_threads_that_wait_share_a_failure(
    cluster: Cluster, fake_ceph: FakeCeph, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the last of them would wait for all their timeouts."""
    began = threading.Semaphore(0)
    failures: list[BackendError] = []

    def connect() -> None:
        try:
            cluster.connect()
        except BackendError as error:
            failures.append(error)

    def monotonic() -> float:
        began.release()
        return time.monotonic()

    def fail() -> None:
        # Until all of them have begun.
        for _ in range(5):
            assert began.acquire(timeout=60)
        raise FakeError("too late", errno.ETIMEDOUT)

    monkeypatch.setattr(cluster_module, "monotonic", monotonic)
    monkeypatch.setattr(fake_ceph, "fail", fail)
    threads = [threading.Thread(target=connect) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(failures), len(fake_ceph.connected)) == (5, 1)


def test_a_forked_process_connects_itself(
    cluster: Cluster, fake_ceph: FakeCeph, monkeypatch: pytest.MonkeyPatch
) -> None:
    parents = cluster.connect()
    assert not parents.is_inherited
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert parents.is_inherited
    own = cluster.connect()
    assert own is not parents
    own.release()
    cluster.close()
    assert fake_ceph.open == [parents.handle]
