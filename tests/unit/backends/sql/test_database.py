# SPDX-License-Identifier: Apache-2.0
"""What every database has in common; tests/functional has the faults of real servers."""

import threading

import pytest
from sqlalchemy import text

from imageapi.backends.sql.database import Database
from imageapi.backends.sql.registry import SQLRegistry
from imageapi.errors import BackendUnavailable
from imageapi.testing.suite import build
from tests.glance_tables import GlanceTables
from tests.unit.backends.sql.images import stored


def database_of(registry: SQLRegistry) -> Database:
    return registry._tables.database


def test_a_statement_that_fails_shows_neither_itself_nor_its_values(
    sql_registry: SQLRegistry,
) -> None:
    with pytest.raises(BackendUnavailable, match="no such table: absent") as caught:
        database_of(sql_registry).read(text("SELECT :secret FROM absent"), {"secret": "hunter2"})
    assert "hunter2" not in str(caught.value)
    assert "SELECT" not in str(caught.value)


def test_a_transaction_that_fails_writes_nothing(
    tables: GlanceTables, sql_registry: SQLRegistry
) -> None:
    tables.put(stored())

    def delete_and_fail() -> None:
        with database_of(sql_registry).transaction() as connection:
            connection.exec_driver_sql("DELETE FROM images")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        delete_and_fail()
    assert database_of(sql_registry).read(text("SELECT id FROM images"), {}) == [("one",)]


def test_a_connection_that_is_not_free_in_time(tables: GlanceTables, database_url: str) -> None:
    limits = {"max_pool_size": 1, "max_overflow": 0, "pool_timeout": 0.01}
    registry = build(SQLRegistry, connection=database_url, **limits)
    refused = pytest.raises(BackendUnavailable, match="see max_overflow and pool_timeout")
    with database_of(registry).connected(), refused:
        database_of(registry).read(text("SELECT 1"), {})
    assert database_of(registry).read(text("SELECT 1"), {}) == [(1,)]
    registry.close()


def test_threads_share_the_connections_of_a_process(sql_registry: SQLRegistry) -> None:
    pools = []
    start = threading.Barrier(8)

    def use() -> None:
        start.wait(60)
        pools.append(database_of(sql_registry)._pool())

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(set(pools)) == 1


def test_a_closed_database_opens_again(sql_registry: SQLRegistry) -> None:
    """As an application that closes and then serves again."""
    database = database_of(sql_registry)
    assert database.read(text("SELECT 1"), {}) == [(1,)]
    database.close()
    database.close()
    assert database.read(text("SELECT 1"), {}) == [(1,)]
