# SPDX-License-Identifier: Apache-2.0
"""Writes data into the folder of a file store.

The first data of an image is the file ``<percent-encoded id>``.  Data that replaces it is
``<percent-encoded id>+<random>``, and its record names it.
"""

import os
import re
import secrets
from collections.abc import Iterable, Iterator
from urllib.parse import unquote

from imageapi.backends.file.folder import file_name
from imageapi.backends.file.new_file import (
    NewFile,
    is_temporary,
    leftover,
    mode_of,
    paths_in,
    remove_file,
    temporary_files,
)
from imageapi.backends.file.store import FileStore, location_of, path_of
from imageapi.backends.writing import DataWriter, HashingReader, Leftover, NewData, WriteError
from imageapi.errors import LocationRefused
from imageapi.image import Image, Location, is_image_id

_CHUNK_SIZE = 1024 * 1024

_REPLACEMENT = re.compile(r"\+[0-9a-f]{16}\Z")


class FileDataWriter(DataWriter):
    """Writes files that get their names when they are complete."""

    def __init__(self, store: FileStore) -> None:
        self._store = store

    def put(self, image: Image, data: HashingReader, *, is_replacement: bool) -> NewData:
        path, location = self._store.path(image.id), None
        if is_replacement:
            path = f"{path}+{secrets.token_hex(8)}"
            location = location_of(path)
        elif os.path.lexists(path):
            raise _exists(path)
        try:
            return _NewDataFile(path, mode_of(is_public=image.is_public), location, data)
        except FileExistsError:
            raise _exists(path) from None
        except OSError as error:
            raise WriteError(f"{error.filename or path}: {error.strerror}") from None

    def left_behind(self, image_id: str) -> Location | None:
        is_there = os.path.lexists(self._store.path(image_id))
        return self._store.locate(image_id) if is_there else None

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
        for path in sorted(paths_in(self._store.directory)):
            if not is_temporary(path) and os.path.realpath(path) not in paths:
                location = location_of(os.fsencode(path))
                yield leftover(path, _image_id_of(path), location)


def _real_path(location: Location) -> str | None:
    try:
        return os.path.realpath(path_of(location.url))
    except LocationRefused:
        return None


def _image_id_of(path: str) -> str | None:
    """Return the id of the image whose data `put` would write there; None if of none."""
    name = _REPLACEMENT.sub("", os.path.basename(path))
    image_id = unquote(name, errors="surrogateescape")
    return image_id if is_image_id(image_id) and file_name(image_id) == name else None


def _exists(path: str) -> WriteError:
    return WriteError(
        f"{path} exists already, without a record of this image: choose another id, or"
        " remove the file if 'imageapi verify --all' says that no record uses it"
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
