# SPDX-License-Identifier: Apache-2.0
"""What every database has in common; tests/functional has the faults of real servers."""

import threading
from contextlib import closing
from typing import Any
from unittest.mock import Mock

import pytest
from sqlalchemy import BindParameter, bindparam, literal_column, select, text, union_all

from imageapi.backends.sql.database import Database
from imageapi.backends.sql.driver_query import DriverQuery
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


@pytest.fixture
def query(sql_registry: SQLRegistry) -> DriverQuery:
    """Takes ``given``, and returns it."""
    given: BindParameter[Any] = bindparam("given")
    return database_of(sql_registry).driver_query(
        union_all(select(literal_column("'found'"), given))
    )


def test_a_direct_query_is_sent_again_if_its_connection_is_broken(
    sql_registry: SQLRegistry, query: DriverQuery
) -> None:
    database = database_of(sql_registry)
    with closing(database._pool().raw_connection()) as connection:
        connection.dbapi_connection.close()  # type: ignore[union-attr]  # it has one
    assert database.read_directly(query, {"given": 1}) == [("found", 1)]


def test_a_direct_query_that_fails(sql_registry: SQLRegistry, query: DriverQuery) -> None:
    database = database_of(sql_registry)
    with pytest.raises(BackendUnavailable, match="type 'object' is not supported"):
        database.read_directly(query, {"given": object()})
    assert database.read_directly(query, {"given": 1}) == [("found", 1)]


def test_a_direct_query_that_is_interrupted_leaves_no_connection(
    sql_registry: SQLRegistry, query: DriverQuery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a later query could get the answer to this one."""
    database = database_of(sql_registry)
    with closing(database._pool().raw_connection()) as connection:
        used = connection.dbapi_connection
    monkeypatch.setattr(query, "parameters", Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        database.read_directly(query, {})
    with closing(database._pool().raw_connection()) as connection:
        assert connection.dbapi_connection is not used
