# SPDX-License-Identifier: Apache-2.0
"""The connections to a database, and what its errors mean."""

import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any

from sqlalchemy import CompoundSelect, Connection, Engine, Executable, create_engine
from sqlalchemy.engine import URL, Row
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoFreeConnection

from imageapi.backends.sql.driver_query import DriverQuery
from imageapi.backends.sql.drivers import connector
from imageapi.backends.sql.options import Settings
from imageapi.errors import BackendUnavailable


class Database:
    """The connections of each process to one database; thread-safe."""

    def __init__(self, url: URL, settings: Settings) -> None:
        """Prepare; connect to nothing yet.

        :raises imageapi.errors.ConfigurationError: the driver is not installed.
        """
        self.shown = url.render_as_string(hide_password=True).partition("?")[0]
        self._settings = settings
        self._url = url
        self._connect = connector(url, settings.connect_timeout, settings.read_timeout)
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._process = 0

    @property
    def dialect(self) -> str:
        """SQLAlchemy's name: sqlite, postgresql, mysql or mariadb."""
        return self._url.get_backend_name()

    def read(self, statement: Executable, values: Mapping[str, Any]) -> Sequence[Row[Any]]:
        """Return the rows of a query.  It is sent once more if its connection was closed.

        :raises BackendUnavailable: the database does not answer, or refuses the query.
        """
        began = time.monotonic()
        with _only_backend_errors():
            try:
                return self._read(statement, values)
            except DBAPIError as error:
                if not error.connection_invalidated or self._is_late(began):
                    raise
            # The database was restarted, or has closed an idle connection.  All connections
            # of the pool are as old, so SQLAlchemy has dropped them.
            return self._read(statement, values)

    def _read(self, statement: Executable, values: Mapping[str, Any]) -> Sequence[Row[Any]]:
        with self._pool().connect() as connection:
            return connection.execute(statement, dict(values)).all()

    def driver_query(self, statement: CompoundSelect[Any]) -> DriverQuery:
        """Return a query for `read_directly`."""
        return DriverQuery(statement, self._pool().dialect)

    def read_directly(
        self, query: DriverQuery, values: Mapping[str, Any]
    ) -> Sequence[Sequence[Any]]:
        """Return the rows of a query that the driver executes.

        If that fails, `read` sends it again: SQLAlchemy knows which errors mean that all
        connections are broken.

        :raises BackendUnavailable: the database does not answer, or refuses the query.
        """
        began = time.monotonic()
        pool = self._pool()
        driver_error = pool.dialect.loaded_dbapi.Error
        with _only_backend_errors(driver_error):
            connection = pool.raw_connection()
            try:
                with closing(connection.cursor()) as cursor:
                    cursor.execute(query.text, query.parameters(values))
                    return cursor.fetchall()
            except BaseException as error:
                connection.invalidate()
                if not isinstance(error, driver_error) or self._is_late(began):
                    raise
            finally:
                connection.close()
        return self.read(query.statement, values)

    def _is_late(self, began: float) -> bool:
        """Whether a query that began at a time of `time.monotonic` has used all its time."""
        return time.monotonic() - began >= self._settings.read_timeout

    @contextmanager
    def connected(self) -> Iterator[Connection]:
        """Return a connection in which each statement is its own transaction.

        :raises BackendUnavailable: the database does not answer, or refuses a statement.
        """
        with _only_backend_errors(), self._alive() as connection:
            yield connection

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Return a connection; what the block writes is written completely or not at all.

        :raises BackendUnavailable: the database does not answer, or refuses a statement.
        """
        with _only_backend_errors(), self._alive() as connection:
            # Two readers of SQLite that begin to write would wait for each other.
            connection.exec_driver_sql(f"BEGIN{' IMMEDIATE' * (self.dialect == 'sqlite')}")
            try:
                yield connection
                connection.exec_driver_sql("COMMIT")
            except BaseException:
                # When a connection ends, the database rolls back.
                connection.invalidate()
                raise

    @contextmanager
    def _alive(self) -> Iterator[Connection]:
        """Return a connection that works; a command may have been idle for long."""
        with self._pool().connect() as connection:
            try:
                connection.exec_driver_sql("SELECT 1")
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
                # Then it connects again at the next statement.
                connection.rollback()
            yield connection

    def _pool(self) -> Engine:
        """Return the connections of this process: those of another one must not be used."""
        if self._process != os.getpid():
            with self._lock:
                if self._process != os.getpid():
                    if self._engine is not None:
                        self._engine.dispose(close=False)
                    self._engine = self._new_pool()
                    self._process = os.getpid()
        if self._engine is None:
            raise BackendUnavailable("the registry was closed")
        return self._engine

    def _new_pool(self) -> Engine:
        settings = self._settings
        return create_engine(
            self._url,
            creator=self._connect,
            isolation_level="AUTOCOMMIT",
            # A query is its own transaction, so there is nothing to roll back.
            pool_reset_on_return=None,
            pool_size=settings.max_pool_size,
            max_overflow=settings.max_overflow,
            pool_timeout=settings.pool_timeout,
            pool_recycle=settings.recycle_seconds,
            hide_parameters=True,
        )

    def close(self) -> None:
        """Close the connections of this process.  May be called twice."""
        with self._lock:
            if self._engine is not None and self._process == os.getpid():
                self._engine.dispose()
            self._engine = None
            self._process = 0


@contextmanager
def _only_backend_errors(driver_error: type[Exception] = SQLAlchemyError) -> Iterator[None]:
    """Raise BackendUnavailable for every error of the database.

    :param driver_error: the class of the errors that SQLAlchemy has not wrapped.

    The text has the driver's first line.  It contains no statement and no values.
    """
    try:
        yield
    except NoFreeConnection:
        raise BackendUnavailable(
            "the database: no connection was free in time; see max_overflow and pool_timeout"
        ) from None
    except (SQLAlchemyError, driver_error) as error:
        cause: BaseException = getattr(error, "orig", None) or error
        line = str(cause.args[-1] if cause.args else cause).partition("\n")[0]
        raise BackendUnavailable(f"the database: {type(cause).__name__}: {line}") from None
