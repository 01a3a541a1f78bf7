# SPDX-License-Identifier: Apache-2.0
"""Data in a folder of this machine, or of a mounted file system."""

import contextlib
import os
import stat
from collections.abc import Sequence
from typing import NoReturn
from urllib.parse import quote, unquote_to_bytes

from oslo_config import cfg

from imageapi.backends.base import Blob, RegistryBackend, StoreBackend
from imageapi.backends.file.folder import (
    NO_FILE,
    NOTHING_THERE,
    StatSignature,
    check_folder,
    configured_folder,
    file_name,
    is_below,
    open_below,
    remembered,
)
from imageapi.backends.file.registry import FileRegistry
from imageapi.backends.file.small_file_cache import LARGEST, SmallBlob, SmallFile, SmallFiles
from imageapi.backends.writing import DataWriter
from imageapi.caller import Caller
from imageapi.errors import BackendUnavailable, DataChanged, DataNotFound, LocationRefused
from imageapi.image import Location


class FileStore(StoreBackend):
    """Reads ``file:`` URLs below its folder, and no other files."""

    schemes = frozenset({"file"})
    checks_at_start = True

    @classmethod
    def options(cls) -> Sequence[cfg.Opt]:
        return (
            cfg.StrOpt(
                "directory",
                default="/var/lib/imageapi/images",
                help="The folder of the image data. Only file: URLs below this folder are opened."
                " If a record has no location, its data is the file <percent-encoded id> in this"
                " folder.",
            ),
            cfg.BoolOpt(
                "trust_times",
                default=True,
                help="Whether unchanged times and size mean that a file's bytes are unchanged."
                " Writes through mmap, or on some network file systems, do not update the times."
                " If false, verify_checksum = once does the same as always.",
            ),
        )

    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        self.directory = configured_folder(conf, group)
        self._chunk_size: int = conf.imageapi.chunk_size
        self._trusts_times: bool = conf[group].trust_times
        self._small_files = SmallFiles()

    def exposes(self, registry: RegistryBackend) -> str:
        if not isinstance(registry, FileRegistry):
            return ""
        store = os.path.realpath(self.directory)
        if os.path.commonpath([store, os.path.realpath(registry.directory)]) != store:
            return ""
        return f"directory: the registry's folder {registry.directory} is inside {self.directory}"

    def writer(self) -> DataWriter:
        # Not above: the writer knows this module.
        from imageapi.backends.file.data_writer import FileDataWriter

        return FileDataWriter(self)

    def path(self, image_id: str) -> str:
        """Return the path of the data of an image whose record has no location."""
        return f"{self.directory}/{file_name(image_id)}"

    def locate(self, image_id: str) -> Location:
        return location_of(self.path(image_id))

    def open(
        self,
        location: Location,
        *,
        start: int = 0,
        stop: int | None = None,
        version: str | None = None,
        caller: Caller,
    ) -> Blob:
        path = path_of(location.url)
        kept = self._small_files.get(path)
        if kept is not None and version in (None, kept.version):
            return SmallBlob(kept, start, stop)
        blob = self._open_file(path, start, stop, version)
        if not self._trusts_times:
            blob.is_trusted = False
            return blob
        if (start, stop) == (0, None) and 0 < blob.total_size <= min(LARGEST, self._chunk_size):
            return self._read_whole(path, blob)
        return blob

    def _open_file(
        self, path: str, start: int, stop: int | None, version: str | None
    ) -> "FileBlob":
        try:
            descriptor = open_below(self.directory, path)
        except OSError as error:
            self._refuse(path, error)
        try:
            return FileBlob(descriptor, path, self._chunk_size, start, stop, version)
        except BaseException:
            os.close(descriptor)
            raise

    def _read_whole(self, path: str, blob: "FileBlob") -> Blob:
        with contextlib.closing(blob):
            # Take the identity before reading.  If the file loses a name meanwhile, it gets
            # another identity, whose times may not be settled yet.
            small = SmallFile(blob.identity, blob.version, b"".join(blob))
        # Deeper down, a folder on the path may be replaced by a link out of this folder.
        if small.version is not None and os.path.dirname(path) == self.directory:
            self._small_files.keep(path, small)
        return SmallBlob(small, start=0, stop=None)

    def check(self) -> str:
        return check_folder(self.directory)

    def _refuse(self, path: str, error: OSError) -> NoReturn:
        if error.errno in NOTHING_THERE and os.path.isdir(self.directory):
            if not is_below(self.directory, path):
                # As for a file that exists there: the error must not tell which files exist.
                raise LocationRefused(f"{path} is not below {self.directory}") from None
            raise DataNotFound(f"{path}: {error.strerror}") from None
        if error.errno in NO_FILE:
            raise LocationRefused(f"{path}: not a regular file") from None
        raise BackendUnavailable(f"{path}: {error.strerror}") from None


def location_of(path: str | bytes) -> Location:
    """Return the location of a file.

    A plus sign stays, because Glance's file store decodes nothing, and names of replaced data
    have one.
    """
    return Location("file://" + quote(path, safe="/+"))


@remembered
def path_of(url: str) -> str:
    """Return the absolute path of a file: URL (RFC 8089), percent-decoded."""
    scheme, _, path = url.partition(":")
    if scheme.lower() != "file":
        raise LocationRefused("not a file: URL")
    if path.startswith("//"):
        host, slash, rest = path[2:].partition("/")
        if host not in ("", "localhost"):
            raise LocationRefused("a file: URL must not name another host: write file:///PATH")
        path = slash + rest
    if not path.startswith("/"):
        raise LocationRefused("a file: URL must have an absolute path")
    if "?" in path or "#" in path:
        raise LocationRefused("a file: URL must have no query or fragment: write %3F and %23")
    try:
        decoded = unquote_to_bytes(path)
    except UnicodeEncodeError:
        raise LocationRefused("a file: URL must not contain a lone surrogate") from None
    if b"\0" in decoded:
        raise LocationRefused("a file: URL must not contain %00")
    return os.fsdecode(decoded)


class FileBlob(Blob):
    """An open file, read with plain read calls.

    Its version is the file's identity and times, once the times are settled.
    """

    total_size: int
    _descriptor = -1

    def __init__(
        self,
        descriptor: int,
        path: str,
        chunk_size: int,
        start: int,
        stop: int | None,
        version: str | None,
    ) -> None:
        """Take over a descriptor.  If this raises, the caller still owns it.

        :raises LocationRefused: it is not a regular file.
        :raises DataChanged: the file is not the requested version.
        """
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise LocationRefused(f"{path}: not a regular file")
        identity = StatSignature.of(status)
        self.total_size = self._size = identity.size
        self.version = str(identity) if identity.shows_next_change() else None
        if version is not None and version != self.version:
            raise DataChanged(f"{path}: the file has changed since the download began")
        if start:
            # Every offset past the end reads nothing; lseek accepts only offsets up to a limit.
            os.lseek(descriptor, min(start, identity.size), os.SEEK_SET)
        self._descriptor = descriptor
        self._path = path
        self._chunk_size = chunk_size
        self._position = start
        self._stop = stop
        self.identity = identity
        self._links = status.st_nlink
        self._ended = False

    def __next__(self) -> bytes:
        if self._ended:
            raise StopIteration
        # Ask for one byte more than expected, to notice that the file has grown.  Not
        # for a whole chunk: for a small file its buffer would cost more than the read.
        stop = self._size + 1 if self._stop is None else self._stop
        most = max(self._chunk_size, self.preferred_chunk_size)
        wanted = min(most, max(stop - self._position, 0))
        try:
            chunk = os.read(self._descriptor, wanted)
            self._position += len(chunk)
            # A short read that ends at the expected size was the last one.
            is_last = len(chunk) < wanted and self._position == self._size
            self._check_unchanged()
            self._ended = is_last or not chunk or self._position == self._stop
        except OSError as error:
            raise BackendUnavailable(f"{self._path}: {error.strerror}") from None
        if not chunk:
            raise StopIteration
        return chunk

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        # For servers that drop a response without closing it.
        self.close()

    def _check_unchanged(self) -> None:
        """Raise DataChanged if the file was rewritten in place: its bytes are a mixture.

        If a file loses a name, as when it is replaced, only its ctime changes and
        its bytes stay, so that reading continues.  A lost name could hide another
        change.  So every read checks, and not only the last one.
        """
        status = os.fstat(self._descriptor)
        if status.st_nlink < self._links:
            self._links = status.st_nlink
            self.identity = self.identity._replace(changed_ns=status.st_ctime_ns)
        if not self.identity.is_of(status):
            raise DataChanged(f"{self._path}: was changed while it was read")
