# SPDX-License-Identifier: Apache-2.0
from imageapi.cache.file_systems import SHARED, file_system_of


def test_names_of_the_kernel() -> None:
    assert file_system_of("/proc") == "proc"
    assert file_system_of("/proc") not in SHARED
    assert {"nfs", "nfs4", "cifs", "ceph"} <= SHARED
