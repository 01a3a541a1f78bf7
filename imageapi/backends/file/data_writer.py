# SPDX-License-Identifier: Apache-2.0
"""Writes data into the folder of a file store.

The first data of an image is the file ``<percent-encoded id>``.  Data that replaces it is
``<percent-encoded id>+<random>``, and its record names it.
"""

import os
import re
import secrets
from collections.abc import Iterable, Iterator
from urllib.parse import quote

from imageapi.backends.file.new_file import (
    NewFile,
    is_temporary,
    leftover,
    mode_of,
    remove_file,
    temporary_files,
)
from imageapi.backends.file.store import FileStore, path_of
from imageapi.backends.writing import DataWriter, HashingReader, Leftover, NewData, WriteError
from imageapi.errors import LocationRefused
from imageapi.image import Image, Location

_CHUNK_SIZE = 1024 * 1024

_REPLACEMENT = re.compile(r"\+[0-9a-f]{16}")


class FileDataWriter(DataWriter):
    """Writes files that get their names when they are complete."""

    def __init__(self, store: FileStore) -> None:
        self._store = store

    def put(self, image: Image, data: HashingReader, *, is_replacement: bool) -> NewData:
        path, location = self._store.path(image.id), None
        if is_replacement:
            path = f"{path}+{secrets.token_hex(8)}"
            location = Location("file://" + quote(path))
        elif os.path.lexists(path):
            raise _exists(path)
        try:
            return _NewDataFile(path, mode_of(is_public=image.is_public), location, data)
        except FileExistsError:
            raise _exists(path) from None
        except OSError as error:
            raise WriteError(f"{error.filename or path}: {error.strerror}") from None

    def owns(self, image_id: str, location: Location) -> bool:
        try:
            path = path_of(location.url)
        except LocationRefused:
            return False
        first = self._store.path(image_id)
        is_first = path == first
        return is_first or (
            path.startswith(first) and bool(_REPLACEMENT.fullmatch(path[len(first) :]))
        )

    def remove(self, location: Location) -> None:
        remove_file(path_of(location.url))

    def leftovers(self, used: Iterable[Location]) -> Iterator[Leftover]:
        paths = set(filter(None, map(_real_path, used)))
        yield from temporary_files(self._store.directory)
        with os.scandir(self._store.directory) as entries:
            files = sorted(
                entry.path for entry in entries if entry.is_file() and not is_temporary(entry.name)
            )
        for path in files:
            if os.path.realpath(path) not in paths:
                yield leftover(path)


def _real_path(location: Location) -> str | None:
    try:
        return os.path.realpath(path_of(location.url))
    except LocationRefused:
        return None


def _exists(path: str) -> WriteError:
    return WriteError(
        f"{path} exists, but no record uses it: remove it with"
        " 'imageapi verify --all --remove-orphans', or choose another id"
    )


class _NewDataFile(NewData):
    def __init__(
        self, path: str, mode: int, location: Location | None, data: HashingReader
    ) -> None:
        """Write the file and give it its name.

        :raises OSError, WriteError: that fails; then nothing remains.
        """
        self.location = location
        self._file = NewFile(path, mode)
        try:
            while chunk := data.read(_CHUNK_SIZE):
                self._file.write(chunk)
            self._file.place()
        except BaseException:
            self._file.close(keep=False)
            raise

    def close(self) -> None:
        self._file.close(keep=self.is_kept)
