# SPDX-License-Identifier: Apache-2.0
"""Places where the soak puts and removes records and data."""

import os
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Protocol

import requests
import swiftclient

from tests.functional.swift import Swift

# Seconds; longer than any server is stopped.
_PATIENCE = 60


class Keeper(Protocol):
    """A place that keeps bytes under names."""

    def put(self, name: str, data: bytes) -> None: ...
    def remove(self, name: str) -> None: ...
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

    def __init__(self, swift: Swift, name: str) -> None:
        self._swift = swift
        self._name = name

    def put(self, name: str, data: bytes) -> None:
        self._insist(lambda client: client.put_object(self._name, name, data))

    def put_dynamic(self, name: str, segments: str) -> None:
        """Put a dynamic large object of all objects whose names begin with ``segments``."""
        headers = {"X-Object-Manifest": f"{self._name}/{segments}"}
        self._insist(lambda client: client.put_object(self._name, name, b"", headers=headers))

    def remove(self, name: str) -> None:
        self._insist(lambda client: _delete(client, self._name, name))

    def location(self, name: str) -> str:
        return f"swift://{self._name}/{name}"

    def _insist(self, do: Callable[[swiftclient.Connection], object]) -> None:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                with closing(self._swift.client()) as client:
                    do(client)
                return
            except (swiftclient.ClientException, requests.RequestException, OSError):
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
