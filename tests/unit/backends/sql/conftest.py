# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator
from pathlib import Path

import pytest

from imageapi.backends.sql.registry import SQLRegistry
from imageapi.testing.suite import build
from tests.glance_tables import GlanceTables


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/glance.sqlite"


@pytest.fixture
def tables(database_url: str) -> Iterator[GlanceTables]:
    """Glance's tables in SQLite, without rows."""
    tables = GlanceTables(database_url)
    yield tables
    tables.close()


@pytest.fixture
def sql_registry(tables: GlanceTables, database_url: str) -> Iterator[SQLRegistry]:
    """A registry that reads those tables."""
    registry = build(SQLRegistry, connection=database_url)
    yield registry
    registry.close()
