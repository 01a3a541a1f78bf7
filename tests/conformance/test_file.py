# SPDX-License-Identifier: Apache-2.0
"""The file registry and the file store pass the conformance suites."""

import itertools
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote

import testtools

from imageapi import document
from imageapi.backends.file import folder
from imageapi.backends.file.folder import file_name
from imageapi.backends.file.registry import FileRegistry
from imageapi.backends.file.store import FileStore
from imageapi.image import Image, Location
from imageapi.testing.data_writer_suite import DataWriterSuite
from imageapi.testing.list_suite import ListSuite
from imageapi.testing.record_writer_suite import RecordWriterSuite
from imageapi.testing.registry_suite import RegistrySuite
from imageapi.testing.store_suite import StoreSuite
from imageapi.testing.suite import build
from tests.conformance.test_memory import with_wrong_byte


def folder_of(case: testtools.TestCase) -> Path:
    """A folder for a test. Its files are trusted as soon as they are written."""
    case.patch(folder, "SETTLED_NS", -1)
    temporary = tempfile.TemporaryDirectory()
    case.addCleanup(temporary.cleanup)
    return Path(temporary.name)


def replace_file(path: str, data: bytes) -> None:
    """Write or replace a file by a rename, as the documentation tells operators to."""
    new = f"{os.path.dirname(path)}/.new"
    Path(new).write_bytes(data)
    os.replace(new, path)


class FileStoreSuite(StoreSuite, mixin=True):
    """The file store, and stores with faults that derive from it."""

    backend_class: type[FileStore] = FileStore

    def make_store(self) -> FileStore:
        self.folder = folder_of(self)
        self.names = map(str, itertools.count())
        return build(self.backend_class, directory=str(self.folder))

    def put(self, data: bytes) -> Location:
        location = self.store.locate(next(self.names))
        self.replace(location, data)
        return location

    def make_unreachable(self) -> tuple[FileStore, Location]:
        directory = str(self.folder / "not-mounted")
        return build(self.backend_class, directory=directory), Location(
            f"file://{quote(directory)}/x"
        )

    def replace(self, location: Location, data: bytes) -> None:
        replace_file(_path_of(location), data)

    def remove(self, location: Location) -> None:
        os.unlink(_path_of(location))

    def put_at(self, location: Location, data: bytes) -> None:
        self.replace(location, data)

    def forbidden(self) -> Iterator[Location]:
        outside = folder_of(self) / "secret"
        outside.write_bytes(b"not for clients")
        (self.folder / "link").symlink_to(outside)
        (self.folder / "folder").symlink_to(outside.parent)
        up = f"{outside.parent.name}/secret"
        inside = f"file://{self.folder}"
        for url in (
            f"file://{outside}",
            f"{inside}/../{up}",
            f"{inside}/..%2F{quote(up, safe='')}",
        ):
            yield Location(url)
        yield from (Location(f"{inside}/link"), Location(f"{inside}/folder/secret"))

    def damage(self, location: Location) -> None:
        path = Path(_path_of(location))
        path.write_bytes(with_wrong_byte(path.read_bytes()))


class FileRegistrySuite(RegistrySuite, mixin=True):
    """The file registry, and registries with faults that derive from it."""

    registry: FileRegistry
    backend_class: type[FileRegistry] = FileRegistry

    def make_registry(self) -> FileRegistry:
        self.folder = folder_of(self)
        return build(self.backend_class, directory=str(self.folder))

    def put(self, image: Image) -> None:
        replace_file(self.registry.path(image.id), json.dumps(document.record(image)).encode())

    def make_unreachable(self) -> FileRegistry:
        return build(self.backend_class, directory=str(self.folder / "not-mounted"))

    def remove(self, image_id: str) -> None:
        os.unlink(self.registry.path(image_id))

    def can_have(self, image_id: str) -> bool:
        return len(file_name(image_id)) < 250

    def put_malformed(self, image_id: str) -> None:
        replace_file(self.registry.path(image_id), b"{")


class TestFileStore(DataWriterSuite, FileStoreSuite, testtools.TestCase):
    pass


class TestFileRegistry(RecordWriterSuite, FileRegistrySuite, ListSuite, testtools.TestCase):
    pass


def _path_of(location: Location) -> str:
    return unquote(location.url.removeprefix("file://"))
