# SPDX-License-Identifier: Apache-2.0
"""Backends that fail with similar ids, in threads, with damaged data, or when they are closed."""

import faulthandler
import json
import os
import signal
import sqlite3
import threading
import time
import unicodedata
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from oslo_config import cfg

from imageapi.backends.base import Blob
from imageapi.backends.file.registry import FileRegistry
from imageapi.backends.file.store import FileStore
from imageapi.caller import ANONYMOUS, Caller
from imageapi.errors import ImageNotFound, LocationRefused, MalformedImage
from imageapi.image import Image, Location
from imageapi.testing.fakes import MemoryRegistry, MemoryStore
from tests.conformance.wrong_backends import WrappedBlob, WrappingStore

# Lets another thread run at the point where a race does harm.
_A_MOMENT = 0.001


def _name_of(location: Location) -> str:
    return unquote(location.url.partition(":")[2])


# Stores that take similar ids for the same.


class _Folding(MemoryStore):
    """Has one place for all ids that are the same after `fold`."""

    @staticmethod
    def fold(name: str) -> str:
        raise NotImplementedError

    def put(self, image_id: str, data: bytes) -> Location:
        return super().put(self.fold(image_id), data)

    def open(self, location: Location, **asked: Any) -> Blob:
        return super().open(self.locate(self.fold(_name_of(location))), **asked)


class MatchesInAnyCase(_Folding):
    @staticmethod
    def fold(name: str) -> str:
        return name.lower()


class StripsNames(_Folding):
    @staticmethod
    def fold(name: str) -> str:
        return name.strip()


class DropsDots(_Folding):
    @staticmethod
    def fold(name: str) -> str:
        return name.strip(".")


class NormalizesUnicode(_Folding):
    @staticmethod
    def fold(name: str) -> str:
        return unicodedata.normalize("NFC", name)


# Stores that open what they must not.


class _FileBlob(Blob):
    version = None

    def __init__(self, path: str) -> None:
        self._data = [Path(path).read_bytes()]
        self.total_size = len(self._data[0])

    def __next__(self) -> bytes:
        if not self._data:
            raise StopIteration
        return self._data.pop()

    def close(self) -> None:
        self._data.clear()


class FollowsPaths(MemoryStore):
    """Takes a name for a path in a folder, and goes up in it."""

    def open(self, location: Location, **asked: Any) -> Blob:
        path = os.path.normpath(os.path.join("/usr/share", _name_of(location).replace("\0", "")))
        return _FileBlob(path) if os.path.isfile(path) else super().open(location, **asked)


class _ComparesTexts(FileStore):
    def open(self, location: Location, **asked: Any) -> Blob:
        path = self.resolved(unquote(location.url.removeprefix("file://")))
        if not path.startswith(f"{self.directory}/"):
            raise LocationRefused("outside the folder")
        with suppress(OSError):
            return _FileBlob(path)
        return super().open(location, **asked)

    def resolved(self, path: str) -> str:
        raise NotImplementedError


class GoesUp(_ComparesTexts):
    """Compares the path before ``..`` is resolved."""

    def resolved(self, path: str) -> str:
        return path


class FollowsLinks(_ComparesTexts):
    """Compares the path before links are resolved."""

    def resolved(self, path: str) -> str:
        return os.path.normpath(path)


# Stores that misuse threads and descriptors.


class SharesDescriptor(MemoryStore):
    """All Blobs of the same data move the position of one descriptor."""

    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        super().__init__(conf, group)
        self.descriptors: dict[str, int] = {}

    def open(self, location: Location, **asked: Any) -> Blob:
        blob = super().open(location, **asked)
        if location.url not in self.descriptors:
            self.descriptors[location.url] = os.memfd_create("shared")
            os.write(self.descriptors[location.url], b"".join(super().open(location, **asked)))
        return _SeekingBlob(blob, self.descriptors[location.url])

    def close(self) -> None:
        while self.descriptors:
            os.close(self.descriptors.popitem()[1])


class _SeekingBlob(WrappedBlob):
    def __init__(self, blob: Blob, descriptor: int) -> None:
        super().__init__(blob)
        self.descriptor, self.position = descriptor, 0

    def __next__(self) -> bytes:
        size = len(next(self.blob))
        os.lseek(self.descriptor, self.position, os.SEEK_SET)
        self.position += size
        return os.read(self.descriptor, size)


class _HomesickBlob(WrappedBlob):
    def __init__(self, blob: Blob) -> None:
        super().__init__(blob)
        self.thread = threading.get_ident()

    def close(self) -> None:
        if threading.get_ident() != self.thread:
            raise sqlite3.ProgrammingError("created in another thread")
        super().close()


class ClosesOnlyInItsThread(WrappingStore):
    wrapper = _HomesickBlob


class _VanishingBlob(WrappedBlob):
    closed = False

    def __next__(self) -> bytes:
        if self.closed:
            raise StopIteration
        self.prepare()
        return next(self.blob)

    def prepare(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True
        self.blob = None  # type: ignore[assignment]  # the fault


class ClosesUnderneath(WrappingStore):
    wrapper = _VanishingBlob


class KeepsConnection(MemoryStore):
    """Opens something for each thread, and leaves some of it open."""

    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        super().__init__(conf, group)
        self.kept: list[int] = []
        self.of_thread = threading.local()

    def open(self, location: Location, **asked: Any) -> Blob:
        if not hasattr(self.of_thread, "descriptor"):
            self.of_thread.descriptor = os.open("/dev/null", os.O_RDONLY)
            self.kept.append(self.of_thread.descriptor)
        return super().open(location, **asked)

    def __del__(self) -> None:
        for descriptor in self.kept:
            with suppress(OSError):
                os.close(descriptor)


class KeepsConnectionsOfThreads(KeepsConnection):
    def close(self) -> None:
        if hasattr(self.of_thread, "descriptor"):
            self.kept.remove(self.of_thread.descriptor)
            os.close(self.of_thread.descriptor)
            del self.of_thread.descriptor


class KeepsThread(MemoryStore):
    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        super().__init__(conf, group)
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.ended.wait, daemon=True, name="forgotten")

    def open(self, location: Location, **asked: Any) -> Blob:
        if self.thread.ident is None:
            self.thread.start()
        return super().open(location, **asked)

    def __del__(self) -> None:
        self.ended.set()


class UnpacksCarelessly(MemoryStore):
    """Notices damaged data, and raises the error of its library."""

    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        super().__init__(conf, group)
        self.sums: dict[str, int] = {}

    def put(self, image_id: str, data: bytes) -> Location:
        self.sums[image_id] = zlib.crc32(data)
        return super().put(image_id, data)

    def open(self, location: Location, **asked: Any) -> Blob:
        whole = b"".join(super().open(location, **asked))
        return _SummedBlob(super().open(location, **asked), zlib.crc32(whole), self.sums, location)


class _SummedBlob(WrappedBlob):
    def __init__(self, blob: Blob, found: int, sums: dict[str, int], location: Location) -> None:
        super().__init__(blob)
        self.is_right = found == sums[_name_of(location)]

    def __next__(self) -> bytes:
        if not self.is_right:
            raise zlib.error("incorrect data check")
        return super().__next__()


# Stores with useless versions.


class VersionOfNameAndSize(MemoryStore):
    """:cvar age: in seconds, from which on data has a version; tests set it to 0."""

    age = 0.0

    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        super().__init__(conf, group)
        self.times: dict[str, float] = {}

    def put(self, image_id: str, data: bytes) -> Location:
        self.times[image_id] = time.time()
        return super().put(image_id, data)

    def open(self, location: Location, **asked: Any) -> Blob:
        blob = super().open(location, **asked)
        changed = self.times[_name_of(location)]
        is_young = time.time() - changed < self.age
        blob.version = None if is_young else self.version_of(location, blob, changed)
        return blob

    def version_of(self, location: Location, blob: Blob, changed: float) -> str:
        return f"{location.url} {blob.total_size}"


class VersionOfSeconds(VersionOfNameAndSize):
    def version_of(self, location: Location, blob: Blob, changed: float) -> str:
        return f"{int(changed)} {blob.total_size}"


class VersionOnlyOfOldData(VersionOfSeconds):
    age = 1000.0


# Registries.


class _MixingUp(MemoryRegistry):
    """Returns something of the image that was asked for first."""

    field: str

    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        super().__init__(conf, group)
        self.first: dict[str, Any] = {}

    def get(self, image_id: str, caller: Caller) -> Image:
        image = super().get(image_id, caller)
        key = self.key(image_id)
        first = self.first.setdefault(key, getattr(image, self.field))
        return replace(image, **{self.field: first})

    def key(self, image_id: str) -> str:
        return ""


class MixesUpProperties(_MixingUp):
    field = "properties"


class MixesUpLocations(_MixingUp):
    field = "locations"


class MixesUpMembers(_MixingUp):
    field = "members"


class KeepsProperties(_MixingUp):
    field = "properties"

    def key(self, image_id: str) -> str:
        return image_id


class RaisesJSONError(FileRegistry):
    def get(self, image_id: str, caller: Caller) -> Image:
        try:
            return super().get(image_id, caller)
        except MalformedImage:
            raise json.JSONDecodeError("Expecting value", "", 0) from None


class HidesMalformedIds(FileRegistry):
    def image_ids(self) -> Iterator[str]:
        for image_id in super().image_ids():
            with suppress(MalformedImage):
                self.get(image_id, ANONYMOUS)
                yield image_id


class SharesCursor(MemoryRegistry):
    """A real cursor of SQLite, which all threads use at once."""

    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        super().__init__(conf, group)
        self.connection = sqlite3.connect(":memory:", check_same_thread=False)
        self.cursor = self.connection.cursor()
        self.cursor.execute("CREATE TABLE ids (id TEXT)")

    def put(self, image: Image) -> None:
        super().put(image)
        self.cursor.execute("INSERT INTO ids VALUES (?)", (image.id,))

    def get(self, image_id: str, caller: Caller) -> Image:
        self.cursor.execute("SELECT id FROM ids WHERE id = ?", (image_id,))
        row = self.cursor.fetchone()
        if row is None:
            raise ImageNotFound("no record")
        return super().get(row[0], caller)

    def close(self) -> None:
        self.connection.close()


class CrashesInThreads(MemoryRegistry):
    """Kills the process, as a library in C does that two threads use at once."""

    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        super().__init__(conf, group)
        self.inside = 0

    def get(self, image_id: str, caller: Caller) -> Image:
        self.inside += 1
        if self.inside > 1:
            # Its traceback would be noise in the output of these tests.
            faulthandler.disable()
            os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(_A_MOMENT)
        self.inside -= 1
        return super().get(image_id, caller)


class RegistryKeepsConnection(MemoryRegistry):
    kept: int | None = None

    def get(self, image_id: str, caller: Caller) -> Image:
        if self.kept is None:
            self.kept = os.open("/dev/null", os.O_RDONLY)
        return super().get(image_id, caller)

    def __del__(self) -> None:
        if self.kept is not None:
            os.close(self.kept)


class _CutBlob(WrappedBlob):
    """Ends where damaged data is cut."""

    def __init__(self, blob: Blob, *, is_cut: bool) -> None:
        super().__init__(blob)
        self.is_cut = is_cut

    def __next__(self) -> bytes:
        if self.is_cut:
            raise StopIteration
        return super().__next__()


class EndsWhereDataIsCut(UnpacksCarelessly):
    """Notices damaged data, and returns only what is before it."""

    def open(self, location: Location, **asked: Any) -> Blob:
        whole = b"".join(MemoryStore.open(self, location, **asked))
        is_cut = zlib.crc32(whole) != self.sums[_name_of(location)]
        return _CutBlob(MemoryStore.open(self, location, **asked), is_cut=is_cut)


class _ClosesAgain(WrappedBlob):
    def __init__(self, blob: Blob) -> None:
        super().__init__(blob)
        self.descriptor = os.open(os.devnull, os.O_RDONLY)

    def close(self) -> None:
        super().close()
        with suppress(OSError):
            os.close(self.descriptor)


class ClosesDescriptorsAgain(WrappingStore):
    """Ignores that its descriptor is closed already, or belongs to another file."""

    wrapper = _ClosesAgain


class LeaksInCheck(MemoryStore):
    def check(self) -> str:
        os.open(os.devnull, os.O_RDONLY)
        return super().check()
