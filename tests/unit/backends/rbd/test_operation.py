# SPDX-License-Identifier: Apache-2.0
import errno
import gc
import weakref

import pytest

from imageapi.backends.rbd.cluster import Bindings
from imageapi.backends.rbd.operation import End, Operation
from tests.unit.backends.rbd.fake_ceph import FakeCeph, FakeCompletion, FakeError


def test_data(fake_ceph: FakeCeph) -> None:
    bindings = Bindings(fake_ceph.rados, fake_ceph.rbd)
    assert Operation(lambda end: FakeCompletion(end, b"", 0), bindings).result() == b""


def test_failure(fake_ceph: FakeCeph) -> None:
    def start(end: End) -> FakeCompletion:
        return FakeCompletion(end, b"some", -errno.ETIMEDOUT)

    operation = Operation(start, Bindings(fake_ceph.rados, fake_ceph.rbd))
    with pytest.raises(FakeError, match="timed out") as caught:
        operation.result()
    assert caught.value.errno == errno.ETIMEDOUT


def test_data_is_released_without_garbage_collection(fake_ceph: FakeCeph) -> None:
    operation = Operation(
        lambda end: FakeCompletion(end, b"data", 4), Bindings(fake_ceph.rados, fake_ceph.rbd)
    )
    operation.result()
    released = weakref.ref(operation)
    gc.disable()
    try:
        del operation
        assert released() is None
    finally:
        gc.enable()
