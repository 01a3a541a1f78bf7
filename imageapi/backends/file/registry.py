# SPDX-License-Identifier: Apache-2.0
"""Records in a folder of this machine, or of a mounted file system."""

import os
from collections.abc import Generator, Iterator, Sequence
from typing import NoReturn

from oslo_config import cfg

from imageapi.backends.base import RegistryBackend
from imageapi.backends.file.folder import (
    NO_FILE,
    NOTHING_THERE,
    check_folder,
    configured_folder,
    file_name,
)
from imageapi.backends.file.index import Index
from imageapi.backends.file.record_file import SUFFIX, RecordFile, image_id_of, read_record
from imageapi.backends.listing import ListQuery
from imageapi.backends.writing import RecordWriter
from imageapi.bounded_cache import BoundedCache
from imageapi.caller import Caller
from imageapi.errors import BackendUnavailable, ImageNotFound, LocationRefused, MalformedImage
from imageapi.image import Image, weight_of

# The limit for parsed records in memory: one byte of JSON can take 44 bytes parsed.
_REMEMBERED_BYTES = 8 * 1024 * 1024

# The overhead of an entry, independent of the size of its record.
_ENTRY_BYTES = 600


class FileRegistry(RegistryBackend):
    """Reads ``<directory>/<percent-encoded id>.json`` (docs/records.md)."""

    checks_at_start = True
    can_list = True

    @classmethod
    def options(cls) -> Sequence[cfg.Opt]:
        return (
            cfg.StrOpt(
                "directory",
                default="/var/lib/imageapi/registry",
                help="The folder of the records. Each is the file <percent-encoded id>.json.",
            ),
        )

    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        self.directory = configured_folder(conf, group)
        self._remembered: BoundedCache[str, RecordFile] = BoundedCache(_REMEMBERED_BYTES)
        self._index = Index(self.directory)

    def get(self, image_id: str, caller: Caller) -> Image:
        path = self.path(image_id)
        try:
            known = self._remembered.get(path)
            if known is None or not known.identity.is_of(os.stat(path)):
                known = self._read(path, image_id)
        except LocationRefused as error:
            raise MalformedImage(str(error)) from None
        except OSError as error:
            self._refuse(path, error)
        if isinstance(known.found, MalformedImage):
            raise known.found.again()
        return known.found

    def list(self, query: ListQuery, caller: Caller) -> Generator[Image, None, None]:
        index = self._index
        if index.process != os.getpid():
            # Two threads may do so at once.  Then one of them uses its index only once.
            index = self._index = Index(self.directory)
        yield from index.list(query, lambda image_id: self.get(image_id, caller))

    def image_ids(self) -> Iterator[str]:
        try:
            with os.scandir(self.directory) as entries:
                names = [entry.name for entry in entries if entry.name.endswith(SUFFIX)]
        except OSError as error:
            raise BackendUnavailable(f"{self.directory}: {error.strerror}") from None
        for name in names:
            image_id = image_id_of(name)
            if image_id is not None:
                yield image_id

    def path(self, image_id: str) -> str:
        """Return the path of an image's record."""
        return f"{self.directory}/{file_name(image_id)}{SUFFIX}"

    def writer(self) -> RecordWriter:
        # Not above: the writer knows this module.
        from imageapi.backends.file.record_writer import FileRecordWriter

        return FileRecordWriter(self)

    def check(self) -> str:
        return check_folder(self.directory)

    def close(self) -> None:
        self._index = Index(self.directory)

    def _read(self, path: str, image_id: str) -> RecordFile:
        # An os.stat() before may have followed a link out of the folder, so stat again.
        known = read_record(self.directory, path, image_id)
        if known.shows_next_change:
            self._remembered.offer(path, known, _weight)
        return known

    def _refuse(self, path: str, error: OSError) -> NoReturn:
        if error.errno in NOTHING_THERE and os.path.isdir(self.directory):
            raise ImageNotFound("no record") from None
        if error.errno in NO_FILE:
            raise MalformedImage(f"{path}: not a regular file") from None
        # If the folder is not mounted, clients must not conclude that no image exists.
        raise BackendUnavailable(f"{path}: {error.strerror}") from None


def _weight(known: RecordFile) -> int:
    return _ENTRY_BYTES + weight_of(known.found)
