# SPDX-License-Identifier: Apache-2.0
import sys

import pytest

from tests.unit.backends.rbd.fake_ceph import FakeCeph


@pytest.fixture
def fake_ceph(monkeypatch: pytest.MonkeyPatch) -> FakeCeph:
    """A cluster, to which Ceph's bindings lead."""
    ceph = FakeCeph()
    monkeypatch.setitem(sys.modules, "rados", ceph.rados)
    monkeypatch.setitem(sys.modules, "rbd", ceph.rbd)
    return ceph
