# SPDX-License-Identifier: Apache-2.0
"""The folder that ``export`` writes and ``import`` reads.

The files ``NAME`` and ``NAME.img`` are those of ``glance-replicator dump``: the details of an
image as JSON, and its data.  ``NAME+record.json`` is the whole record, without locations: the
details lack members, protection and some hashes.  NAME is the percent-encoded id.
"""

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from imageapi import document
from imageapi.backends.base import RegistryBackend, StoreBackend
from imageapi.backends.file.folder import NOTHING_THERE, file_name
from imageapi.backends.file.new_file import NewFile
from imageapi.backends.file.record_file import LARGEST_RECORD
from imageapi.backends.file.store import FileStore
from imageapi.backends.writing import WriteError
from imageapi.caller import Caller
from imageapi.commands.details import described
from imageapi.config.files import load_config
from imageapi.config.options import CORE, GROUP
from imageapi.config.plugins import Loaded
from imageapi.errors import BackendUnavailable, ImageNotFound, MalformedImage
from imageapi.image import Image, Location, is_image_id

_DATA = ".img"

# A percent-encoded id contains no plus sign.
_RECORD = "+record.json"

_SECTION = "imageapi_exported"

# Private images are exported too.
_MODE = 0o600


class Paths:
    """The paths of an image's files.

    :ivar details, record, data: the files.
    """

    def __init__(self, folder: str, image_id: str) -> None:
        name = file_name(image_id)
        if name.endswith(_DATA):
            # The details of the image "a.img" must not be the data of the image "a".
            name = name.removesuffix(_DATA) + "%2Eimg"
        self.details = os.path.join(folder, name)
        self.record = self.details + _RECORD
        self.data = self.details + _DATA


class ExportedImages(RegistryBackend):
    """The records of such a folder.  Each has one location: its data in the folder."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def get(self, image_id: str, caller: Caller) -> Image:
        paths = Paths(self._folder, image_id)
        # The details are written last, so without them the image is not complete.
        details = _read(paths.details)
        if details is None:
            raise ImageNotFound(f"no record: there is no file {paths.details}")
        record = _read(paths.record)
        if record is None:
            found = document.found(details, image_id, paths.details)
        else:
            found = document.found(record, image_id, paths.record)
        if isinstance(found, MalformedImage):
            raise found
        return replace(found, locations=(Location("file://" + quote(paths.data)),))

    def image_ids(self) -> Iterator[str]:
        try:
            with os.scandir(self._folder) as entries:
                names = {entry.name for entry in entries if entry.is_file()}
        except OSError as error:
            raise BackendUnavailable(f"{self._folder}: {error.strerror}") from None
        for name in names:
            image_id = unquote(name, errors="surrogateescape")
            path = os.path.join(self._folder, name)
            if is_image_id(image_id) and Paths(self._folder, image_id).details == path:
                yield image_id

    def check(self) -> str:
        return f"directory {self._folder}"


class Source(NamedTuple):
    """Where images are read: a registry and its stores."""

    registry: Loaded[RegistryBackend]
    stores: tuple[Loaded[StoreBackend], ...]


def source_of(folder: str) -> Source:
    """Return the records and the data of a folder that ``export`` or a dump wrote."""
    folder = os.path.abspath(folder)
    conf = load_config([])
    conf.register_opts(CORE, GROUP)
    conf.register_opts(FileStore.options(), _SECTION)
    conf.set_override("directory", folder, _SECTION)
    registry: RegistryBackend = ExportedImages(folder)
    store: StoreBackend = FileStore(conf, _SECTION)
    return Source(
        Loaded("folder", folder, "exported", _SECTION, "", registry),
        (Loaded("folder", folder, "file", _SECTION, "", store),),
    )


def write(folder: str, image: Image, write_data: Callable[[NewFile], None]) -> str:
    """Write the files of an image, or replace them; return the path of its data.

    :param write_data: writes the data into a file.
    :raises WriteError: a file cannot be written.
    """
    paths = Paths(os.path.abspath(folder), image.id)
    try:
        with NewFile(paths.data, _MODE, replaces=True) as data:
            write_data(data)
            # An interruption must not leave the details of other data.
            for path in (paths.details, paths.record):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
            data.place()
        # The details are last: an image without them is not complete.
        _write_json(paths.record, described(image))
        _write_json(paths.details, _details(image))
    except OSError as error:
        raise WriteError(f"{error.filename or paths.details}: {error.strerror}") from None
    return paths.data


def _write_json(path: str, fields: Mapping[str, Any]) -> None:
    with NewFile(path, _MODE, replaces=True) as file:
        file.write(json.dumps(fields).encode())
        file.place()


def _details(image: Image) -> dict[str, Any]:
    fields: dict[str, Any] = document.details(image, "")["images"][0]
    del fields["uri"]
    # glance-replicator sends each field as a header, which cannot be null.
    return {name: value for name, value in fields.items() if value is not None}


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            record = file.read(LARGEST_RECORD + 1)
    except OSError as error:
        if error.errno in NOTHING_THERE:
            return None
        raise BackendUnavailable(f"{path}: {error.strerror}") from None
    if len(record) > LARGEST_RECORD:
        raise MalformedImage(f"{path}: the record is larger than {LARGEST_RECORD} bytes")
    return record
