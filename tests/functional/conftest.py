# SPDX-License-Identifier: Apache-2.0
import signal
from collections.abc import Iterator

import pytest

from tests.functional.database_server import DatabaseServer, running_database
from tests.functional.mariadb import MariaDB
from tests.functional.openstack import Keystone, keystone, people
from tests.functional.postgresql import PostgreSQL
from tests.functional.swift import Swift, running_swift


@pytest.fixture(scope="session")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keystone]:
    """A real Keystone, one for all modules, since it takes long to make."""
    with keystone(tmp_path_factory.mktemp("keystone")) as server:
        yield server


@pytest.fixture(scope="session")
def projects(identity: Keystone) -> dict[str, str]:
    """The projects of users of that Keystone: ann, ben, reader, chief and imageapi."""
    return people(identity)


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseServer]:
    """A real PostgreSQL. A test that ends or freezes it leaves it running."""
    with running_database(PostgreSQL(tmp_path_factory.mktemp("postgresql"))) as server:
        yield server


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseServer]:
    """A real MariaDB. A test that ends or freezes it leaves it running."""
    with running_database(MariaDB(tmp_path_factory.mktemp("mariadb"))) as server:
        yield server


@pytest.fixture
def heeded_signals() -> Iterator[None]:
    """What the test starts heeds SIGINT and SIGHUP, even where nohup or ``&`` started the tests."""
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    hang_up = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGHUP, hang_up)


@pytest.fixture(scope="module")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swift]:
    """A real Swift for the module, without containers at first."""
    with running_swift(tmp_path_factory.mktemp("swift")) as server:
        yield server
