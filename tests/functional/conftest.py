# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator

import pytest

from tests.functional.openstack import Keystone, keystone


@pytest.fixture(scope="session")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keystone]:
    """A real Keystone, one for all modules, since it takes long to make."""
    with keystone(tmp_path_factory.mktemp("keystone")) as server:
        yield server
