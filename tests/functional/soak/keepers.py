# SPDX-License-Identifier: Apache-2.0
"""Places where the soak puts and removes records and data."""

import os
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import requests
import sqlalchemy as sa
import swiftclient

from imageapi.document.parsing import parse
from tests.functional.ceph import Ceph
from tests.functional.swift import Swift
from tests.glance_tables import GlanceTables

# Seconds; longer than any server is stopped.
_PATIENCE = 60

# Glance's tables require a time.
_CREATED_AT = datetime(2026, 1, 2, tzinfo=UTC)


class Keeper(Protocol):
    """A place that keeps bytes under names."""

    def put(self, name: str, data: bytes) -> None: ...
    def remove(self, name: str) -> None: ...


class DataKeeper(Keeper, Protocol):
    """A place of data, which a record can name."""

    def location(self, name: str) -> str: ...


class Folder:
    """A folder whose files are replaced by a rename, as docs/records.md requires."""

    def __init__(self, path: Path, url: str = "") -> None:
        """:param url: of the folder; without one it is a ``file:`` URL."""
        self._path = path
        self._url = url or f"file://{path}"

    def put(self, name: str, data: bytes) -> None:
        new = self._path / f".new+{name}"
        new.write_bytes(data)
        self._date(new, self.path(name))
        new.replace(self.path(name))

    def remove(self, name: str) -> None:
        self.path(name).unlink(missing_ok=True)

    def location(self, name: str) -> str:
        return f"{self._url}/{name}"

    def path(self, name: str) -> Path:
        return self._path / name

    def _date(self, new: Path, old: Path) -> None:
        """Set the new file's time, if the reader must see another time than the old file's."""


class WebFolder(Folder):
    """A folder of a web server that makes ETags of seconds and sizes.

    Each file gets a later second than the file that it replaces. Otherwise two different
    files could have the same ETag, which no client can notice.
    """

    def __init__(self, path: Path, url: str) -> None:
        super().__init__(path, url)
        self._last: dict[Path, int] = {}

    def _date(self, new: Path, old: Path) -> None:
        second = self._last[old] = max(int(time.time()), self._last.get(old, 0) + 1)
        os.utime(new, (second, second))


class Container:
    """A container of Swift. A request that fails is repeated."""

    def __init__(self, swift: Swift, name: str, scheme: str = "swift") -> None:
        """:param scheme: ``s3`` if imageapi reads it as a bucket."""
        self._swift = swift
        self._name = name
        self._scheme = scheme

    def put(self, name: str, data: bytes) -> None:
        self._insist(lambda client: client.put_object(self._name, name, data))

    def put_dynamic(self, name: str, segments: str) -> None:
        """Put a dynamic large object of all objects whose names begin with ``segments``."""
        headers = {"X-Object-Manifest": f"{self._name}/{segments}"}
        self._insist(lambda client: client.put_object(self._name, name, b"", headers=headers))

    def remove(self, name: str) -> None:
        self._insist(lambda client: _delete(client, self._name, name))

    def location(self, name: str) -> str:
        return f"{self._scheme}://{self._name}/{name}"

    def _insist(self, do: Callable[[swiftclient.Connection], object]) -> None:
        def once() -> None:
            with closing(self._swift.client()) as client:
                do(client)

        _insist(once, swiftclient.ClientException, requests.RequestException, OSError)


class Snapshots:
    """A pool of Ceph, where each name is an image with a snapshot. librados itself waits."""

    def __init__(self, ceph: Ceph, pool: str) -> None:
        self._ceph = ceph
        self._pool = pool

    def put(self, name: str, data: bytes) -> None:
        self._ceph.put(self._pool, name, data)

    def remove(self, name: str) -> None:
        self._ceph.remove(self._pool, name)

    def location(self, name: str) -> str:
        return self._ceph.url(self._pool, name)


class Rows:
    """The tables of Glance in a database. A transaction that fails is repeated."""

    def __init__(self, url: str) -> None:
        self._tables = GlanceTables(url)

    def put(self, name: str, data: bytes) -> None:
        image = replace(parse(data, name.removesuffix(".json")), created_at=_CREATED_AT)
        _insist(lambda: self._tables.put(image), sa.exc.DBAPIError)

    def remove(self, name: str) -> None:
        _insist(lambda: self._tables.remove(name.removesuffix(".json")), sa.exc.DBAPIError)

    def close(self) -> None:
        self._tables.close()


def _insist(do: Callable[[], object], *failures: type[Exception]) -> None:
    """Do it again until it does not fail in one of these ways."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            do()
            return
        except failures:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _delete(client: swiftclient.Connection, container: str, name: str) -> None:
    try:
        client.delete_object(container, name)
    except swiftclient.ClientException as error:
        # Swift also answers 404 if its container server does not answer.
        if error.http_status != 404 or _is_there(client, container, name):
            raise


def _is_there(client: swiftclient.Connection, container: str, name: str) -> bool:
    try:
        client.head_object(container, name)
    except swiftclient.ClientException as error:
        if error.http_status == 404:
            return False
        raise
    return True
