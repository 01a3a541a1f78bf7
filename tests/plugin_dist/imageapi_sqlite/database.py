"""The SQLite file: its tables, how it is read, and how it is filled."""

import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import quote

from oslo_config import cfg

from imageapi.backends.base import Backend
from imageapi.errors import BackendUnavailable

SCHEMA = """
CREATE TABLE records (image_id TEXT PRIMARY KEY, document TEXT NOT NULL);
CREATE TABLE files (name TEXT PRIMARY KEY, version TEXT NOT NULL, size INTEGER NOT NULL);
CREATE TABLE chunks (version TEXT, start INTEGER, data BLOB, PRIMARY KEY (version, start));
CREATE TABLE grants (image_id TEXT, project_id TEXT, PRIMARY KEY (image_id, project_id));
"""


class InDatabase(Backend):
    """The base of the three backends: their common option."""

    @classmethod
    def options(cls) -> Sequence[cfg.Opt]:
        return [cfg.StrOpt("database", required=True, help="The path of the SQLite file.")]

    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        self._path: str = conf[group].database


def row_of(path: str, query: str, *values: object) -> tuple[Any, ...] | None:
    """Return the first row that a query finds; None if it finds no row."""
    return next(iter(rows_of(path, query, *values)), None)


def rows_of(path: str, query: str, *values: object) -> list[tuple[Any, ...]]:
    """Return all rows that a query finds.

    Each query opens and closes its own connection.  So threads share nothing, and no
    connection survives a fork.
    """
    try:
        uri = f"file:{quote(path)}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            return connection.execute(query, values).fetchall()
    except sqlite3.Error as error:
        raise BackendUnavailable(f"{path} cannot be read: {error}") from error


def count_of(path: str, table: str) -> str:
    """Return the text that check() returns."""
    (count,) = row_of(path, f"SELECT count(*) FROM {table}") or (0,)
    return f"{count} {table} in {path}"


@contextmanager
def _writing(path: str) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path)) as connection, connection:
        yield connection


def create(path: str) -> None:
    with _writing(path) as connection:
        connection.executescript(SCHEMA)


def put_record(path: str, image_id: str, document: str) -> None:
    with _writing(path) as connection:
        connection.execute("REPLACE INTO records VALUES (?, ?)", (image_id, document))


def remove_record(path: str, image_id: str) -> None:
    with _writing(path) as connection:
        connection.execute("DELETE FROM records WHERE image_id = ?", (image_id,))


def put_file(path: str, name: str, data: bytes, chunk_size: int = 2**20) -> None:
    version = uuid.uuid4().hex
    starts = range(0, len(data), chunk_size)
    chunks = [(version, start, data[start : start + chunk_size]) for start in starts]
    remove_file(path, name)
    with _writing(path) as connection:
        connection.execute("INSERT INTO files VALUES (?, ?, ?)", (name, version, len(data)))
        connection.executemany("INSERT INTO chunks VALUES (?, ?, ?)", chunks)


def remove_file(path: str, name: str) -> None:
    versions = "SELECT version FROM files WHERE name = ?"
    with _writing(path) as connection:
        connection.execute(f"DELETE FROM chunks WHERE version IN ({versions})", (name,))
        connection.execute("DELETE FROM files WHERE name = ?", (name,))


def damage_file(path: str, name: str) -> None:
    """Remove the last chunk of a file, as tests need it."""
    versions = "SELECT version FROM files WHERE name = ?"
    last = f"SELECT max(start) FROM chunks WHERE version IN ({versions})"
    with _writing(path) as connection:
        query = f"DELETE FROM chunks WHERE version IN ({versions}) AND start = ({last})"
        connection.execute(query, (name, name))


def grant(path: str, image_id: str, project_id: str) -> None:
    with _writing(path) as connection:
        connection.execute("REPLACE INTO grants VALUES (?, ?)", (image_id, project_id))
