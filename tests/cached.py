# SPDX-License-Identifier: Apache-2.0
"""A deployment with a cache, which also keeps the data of its file store."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import imageapi
from imageapi.backends.base import Blob
from imageapi.backends.file.store import FileBlob, FileStore
from tests.deployment import Deployment
from tests.functional.waiting import becomes_true

CACHE = """\
[imageapi_cache]
directory = {directory}
stores = file
"""


class CachedDeployment(Deployment):
    """A `Deployment` whose folder ``cache`` is the cache."""

    def __init__(self, folder: Path) -> None:
        self.cache = folder / "cache"
        self.cache.mkdir(parents=True)
        super().__init__(folder)

    def configure(self, core: str = "", more: str = "") -> None:
        super().configure(core, CACHE.format(directory=self.cache) + more)

    def add_hashed(self, image_id: str, data: bytes, **fields: Any) -> None:
        """Add an image whose record has a SHA-512."""
        digest = hashlib.sha512(data).hexdigest()
        self.add(image_id, data, **{"os_hash_algo": "sha512", "os_hash_value": digest, **fields})

    def name_of(self, data: bytes) -> str:
        """The name in the cache of data that `add_hashed` adds."""
        return f"sha512.{hashlib.sha512(data).hexdigest()}.{len(data)}"

    def kept(self) -> list[Path]:
        """The complete data whose verification is written down."""
        return [path.with_suffix("") for path in self.cache.glob("*.ok")]

    def names(self) -> list[str]:
        """The names of all files of data."""
        return sorted(name for name in os.listdir(self.cache) if name not in ("lock", "verdicts"))

    def wait_until_kept(self, count: int = 1) -> None:
        assert becomes_true(lambda: len(self.kept()) == count)

    def wait_until_nothing_is_filled(self) -> None:
        assert becomes_true(lambda: not list(self.cache.glob("*.part")))


class Opens:
    """Counts what a file store opens, and may change what is read.

    :ivar parts: the start of each part that was opened.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.parts: list[int] = []
        self.before_chunk: Any = lambda blob: None
        opens, reads = FileStore._open_file, FileBlob.__next__

        def counting(store: FileStore, path: str, start: int, *more: Any) -> Any:
            self.parts.append(start)
            return opens(store, path, start, *more)

        def reading(blob: FileBlob) -> bytes:
            self.before_chunk(blob)
            return reads(blob)

        monkeypatch.setattr(FileStore, "_open_file", counting)
        monkeypatch.setattr(FileBlob, "__next__", reading)


@contextmanager
def api_of(deployment: Deployment) -> Iterator[imageapi.ImageAPI]:
    api = deployment.api()
    try:
        yield api
    finally:
        api.close()


def chunks_of(blob: Blob) -> bytes:
    """All data of a blob, which is closed then."""
    try:
        return b"".join(blob)
    finally:
        blob.close()
