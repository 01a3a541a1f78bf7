# SPDX-License-Identifier: Apache-2.0
"""Opens connections to each kind of database: with timeouts, and with plain values in rows.

Times are read as text from every database, so that a value that Python cannot represent is a
malformed record and not an error of the whole query.
"""

import importlib
import sqlite3
import time
from collections.abc import Callable, Generator, Mapping
from math import ceil
from typing import Any
from urllib.parse import quote

from sqlalchemy.engine import URL

from imageapi.errors import ConfigurationError

#: Returns a new connection of the driver.
Connect = Callable[[], Any]

_PACKAGES = {"psycopg": "psycopg[binary]", "pymysql": "PyMySQL"}


def connector(url: URL, connect_timeout: float, read_timeout: float) -> Connect:
    """Return what opens connections to a database.  Open none yet.

    :param url: with one of our drivers.
    :param connect_timeout, read_timeout: in seconds; the second is for each query.
    :raises ConfigurationError: the driver is not installed, or the URL is incomplete.
    """
    driver = url.get_driver_name()
    if driver == "pysqlite":
        return _sqlite(url, read_timeout)
    try:
        module = importlib.import_module(driver)
    except ImportError:
        package = _PACKAGES[driver]
        raise ConfigurationError(
            [f"connection: the driver {driver} is not installed: run pip install '{package}'"]
        ) from None
    if driver == "psycopg":
        return _postgresql(module, url, connect_timeout, read_timeout)
    return _mysql(module, url, connect_timeout, read_timeout)


def _sqlite(url: URL, read_timeout: float) -> Connect:
    path = url.database
    if not path or path == ":memory:":
        raise ConfigurationError(
            ["connection: name the file of the database: sqlite:////var/lib/glance/glance.sqlite"]
        )

    def connect() -> sqlite3.Connection:
        # With mode=rw, SQLite does not create a file that is missing.
        connection = sqlite3.connect(
            f"file:{quote(path)}?mode=rw",
            uri=True,
            timeout=read_timeout,
            isolation_level=None,
            check_same_thread=False,
        )
        # Bytes that are not UTF-8 are a malformed record, and not an error of the query.
        connection.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
        return connection

    return connect


def _postgresql(psycopg: Any, url: URL, connect_timeout: float, read_timeout: float) -> Connect:
    class Connection(psycopg.Connection):  # type: ignore[misc]  # the driver is loaded late
        def wait(self, gen: Any, *args: Any, **more: Any) -> Any:
            """Wait for the answer to a query.

            No option of libpq limits this time if the server's machine still answers.
            """
            try:
                return super().wait(_until(gen, time.monotonic() + read_timeout), *args, **more)
            except TimeoutError:
                self.close()
                raise psycopg.OperationalError(
                    f"no answer within {read_timeout:g} seconds"
                ) from None

    text = importlib.import_module("psycopg.types.string").TextLoader
    values = {
        **_values_of(url),
        "dbname": url.database,
        "user": url.username,
        "connect_timeout": ceil(connect_timeout),
        "application_name": "imageapi",
    }

    def connect() -> Any:
        connection = Connection.connect(autocommit=True, **values)
        for kind in ("timestamp", "timestamptz"):
            connection.adapters.register_loader(kind, text)
        return connection

    return connect


def _until(waiting: Generator[Any, Any, Any], end: float) -> Generator[Any, Any, Any]:
    """Do what a generator of psycopg does, until a time of `time.monotonic`."""
    try:
        state = next(waiting)
        while True:
            ready = yield state
            if time.monotonic() > end:
                raise TimeoutError
            state = waiting.send(ready)
    except StopIteration as result:
        return result.value


def _mysql(pymysql: Any, url: URL, connect_timeout: float, read_timeout: float) -> Connect:
    converters = importlib.import_module("pymysql.converters")
    types = importlib.import_module("pymysql.constants.FIELD_TYPE")
    conversions = {
        kind: convert
        for kind, convert in converters.conversions.items()
        if kind not in (types.DATETIME, types.TIMESTAMP)
    }
    values = {
        "charset": "utf8mb4",
        **_values_of(url),
        "database": url.database,
        "user": url.username,
        "connect_timeout": connect_timeout,
        "read_timeout": read_timeout,
        "write_timeout": read_timeout,
        "conv": conversions,
        "autocommit": True,
    }

    def connect() -> Any:
        try:
            return pymysql.connect(**values)
        except TypeError as error:
            # Of a parameter in the URL's query that PyMySQL does not know.
            raise pymysql.OperationalError(f"wrong parameter in the URL: {error}") from None

    return connect


def _values_of(url: URL) -> Mapping[str, Any]:
    """Return what a URL says, but for the names that the drivers spell differently.

    Its query has parameters of the driver, and ``plugin``, which is SQLAlchemy's.
    """
    query = {name: value for name, value in url.query.items() if name != "plugin"}
    known = {"host": url.host, "port": url.port, "password": url.password}
    return {**query, **{name: value for name, value in known.items() if value is not None}}
