# SPDX-License-Identifier: Apache-2.0
import signal
from collections.abc import Iterator

import pytest

from tests.functional.openstack import Keystone, keystone


@pytest.fixture(scope="session")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keystone]:
    """A real Keystone, one for all modules, since it takes long to make."""
    with keystone(tmp_path_factory.mktemp("keystone")) as server:
        yield server


@pytest.fixture
def heeded_signals() -> Iterator[None]:
    """What the test starts heeds SIGINT and SIGHUP, even where nohup or ``&`` started the tests."""
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    hang_up = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGHUP, hang_up)
