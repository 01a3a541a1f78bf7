# SPDX-License-Identifier: Apache-2.0
"""Writes the records of a folder."""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator

from imageapi import document
from imageapi.backends.file.folder import NOTHING_THERE, open_below
from imageapi.backends.file.new_file import (
    NewFile,
    mode_of,
    open_folder,
    remove_file,
    temporary_files,
)
from imageapi.backends.file.record_file import LARGEST_RECORD
from imageapi.backends.file.registry import FileRegistry
from imageapi.backends.writing import Leftover, RecordExists, RecordWriter, WriteError
from imageapi.errors import BackendUnavailable, ImageNotFound, LocationRefused, MalformedImage

# NFS cannot lock a folder.
_NO_LOCKS = (errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)


class FileRecordWriter(RecordWriter):
    """Replaces whole files, under a lock that all commands of imageapi take."""

    def __init__(self, registry: FileRegistry) -> None:
        self._registry = registry

    def read(self, image_id: str) -> bytes:
        path = self._registry.path(image_id)
        try:
            with open(open_below(self._registry.directory, path), "rb") as file:
                record = file.read(LARGEST_RECORD + 1)
        except LocationRefused as error:
            raise MalformedImage(str(error)) from None
        except OSError as error:
            if error.errno in NOTHING_THERE and os.path.isdir(self._registry.directory):
                raise ImageNotFound("no record") from None
            raise BackendUnavailable(f"{path}: {error.strerror}") from None
        if len(record) > LARGEST_RECORD:
            raise MalformedImage(f"{path}: the record is larger than {LARGEST_RECORD} bytes")
        return record

    def create(self, image_id: str, record: bytes) -> None:
        path = self._registry.path(image_id)
        try:
            _check_size(record)
            with NewFile(path, mode_of(is_public=_is_public(record, image_id))) as file:
                file.write(record)
                file.place()
                file.keep()
        except FileExistsError:
            raise RecordExists(f"it exists already: {path}") from None
        except OSError as error:
            raise WriteError(f"{error.filename or path}: {error.strerror}") from None

    def replace(self, image_id: str, old: bytes, new: bytes) -> None:
        path = self._registry.path(image_id)
        try:
            _check_size(new)
            is_public = _is_public(new, image_id)
            with self._unchanged(image_id, old):
                before = os.stat(path)
                # A service that could read the record must still be able to.
                is_as_before = is_public == _is_public(old, image_id)
                mode = before.st_mode & 0o777 if is_as_before else mode_of(is_public=is_public)
                self._write(NewFile(path, mode, replaces=True), before, new)
        except OSError as error:
            raise WriteError(f"{error.filename or path}: {error.strerror}") from None

    def _write(self, new_file: NewFile, before: os.stat_result, record: bytes) -> None:
        with new_file as file:
            file.belong_as(before)
            file.write(record)
            file.place()

    def remove(self, image_id: str, old: bytes) -> None:
        path = self._registry.path(image_id)
        try:
            with self._unchanged(image_id, old):
                remove_file(path)
        except OSError as error:
            raise WriteError(f"{error.filename or path}: {error.strerror}") from None

    def temporary(self) -> Iterator[Leftover]:
        return temporary_files(self._registry.directory)

    @contextlib.contextmanager
    def _unchanged(self, image_id: str, old: bytes) -> Iterator[None]:
        """Hold the lock while the record is what it was.

        :raises WriteError: it is not.
        """
        path = self._registry.path(image_id)
        folder = open_folder(self._registry.directory)
        try:
            _lock(folder)
            if self.read(image_id) != old:
                raise WriteError(f"{path} was changed meanwhile: try again")
            if os.path.islink(path):
                raise WriteError(f"{path} is a link: change the file to which it leads")
            yield
        finally:
            os.close(folder)


def _lock(folder: int) -> None:
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise


def _is_public(record: bytes, image_id: str) -> bool:
    return document.parse(record, image_id).is_public


def _check_size(record: bytes) -> None:
    if len(record) > LARGEST_RECORD:
        raise WriteError(
            f"the record would have {len(record)} bytes; at most {LARGEST_RECORD} are allowed"
        )
