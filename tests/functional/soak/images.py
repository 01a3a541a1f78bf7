# SPDX-License-Identifier: Apache-2.0
"""Images that change again and again, in the documented way or in wrong ways."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from random import Random

from tests.functional.soak.history import CHANGED, Fact, History, Span, Version
from tests.functional.soak.keepers import Container, Folder, Keeper

# The largest does not fit into all buffers between the server's disk and its client.
SIZES = (30_000, 2_000_000, 8_000_000)

#: The facts about an image whose data does not match its record.
DAMAGED: tuple[Fact, ...] = ("404", "500", "503", "broken", "blurred")

# Seconds: shorter than a file needs until its times are trusted, longer than that, and
# long enough that its data is also verified, and then sent without being verified again.
_SHORT, _LONG, _LONGEST = (0.05, 0.5), (2.2, 3.0), (3.5, 5.5)


@dataclass(frozen=True)
class Surroundings:
    """The objects that all images of a turn share.

    :ivar stopping: set when the storm is over.
    """

    records: Keeper
    random: Random
    stopping: threading.Event


@dataclass(frozen=True)
class About:
    """The properties of an image that never change.

    :ivar kind: the class in which answers are counted.
    :ivar servers: the names of the servers that it depends on.
    :ivar is_sized: whether its records may have a size.
    """

    id: str
    kind: str
    servers: tuple[str, ...]
    surroundings: Surroundings
    is_sized: bool = True


class Changing:
    """An image. One thread changes it, and many clients ask for it.

    :ivar kind, servers: as for `About`.
    :ivar changes: the functions that change it, by the name of the change.
    :cvar demand: how often clients ask for it, relative to other images.
    """

    changes: Mapping[str, Callable[[], None]]
    demand = 1

    def __init__(self, about: About) -> None:
        self.id = about.id
        self.kind = about.kind
        self.servers = about.servers
        self.history = History()
        self._is_sized = about.is_sized
        self._around = about.surroundings
        # A generator for each image: one that threads share would not repeat its sequence.
        self._random = Random(about.surroundings.random.random())
        self._number = 0
        self._size = SIZES[-1]
        self._shown: tuple[Version, Span] | None = None
        self._readers: set[object] = set()

    def create(self) -> None:
        """Put its first version and record."""
        version = self._new_version()
        self._put(version)
        self._show(version)

    def remove(self) -> None:
        """Remove its record and data."""
        raise NotImplementedError

    @property
    def version(self) -> Version:
        """The version that its record describes."""
        assert self._shown is not None
        return self._shown[0]

    @contextmanager
    def being_read(self) -> Iterator[None]:
        """Count a client as a reader until the block ends."""
        reader = object()
        self._readers.add(reader)
        try:
            yield
        finally:
            self._readers.remove(reader)

    def wait_for_readers(self) -> None:
        """Wait until all current readers are done."""
        readers = set(self._readers)
        while readers & set(self._readers):
            time.sleep(0.05)

    def _dwell(self) -> None:
        """Change nothing for a while."""
        self._wait(*self._random.choice([_SHORT, _SHORT, _LONG]))

    def _settle(self) -> None:
        """Change nothing until imageapi has verified the data."""
        self._wait(*_LONGEST)

    def _wait(self, shortest: float, longest: float) -> None:
        self._around.stopping.wait(self._random.uniform(shortest, longest))

    def _new_version(self) -> Version:
        """A version, mostly of the size of the last one, so that the size reveals no change."""
        self._number += 1
        if self._random.random() < 0.2:
            (self._size,) = self._random.choices(SIZES, (1, 2, 2))
        return Version(self.id, self._number, self._size)

    def _show(self, version: Version) -> None:
        """Put the record of a version."""
        span = self.history.begin(version)
        self._put_record(version, "active")
        self._hide()
        self._shown = version, span

    def _hide(self) -> None:
        if self._shown is not None:
            self.history.end(self._shown[1])

    def _put_record(self, version: Version, status: str) -> None:
        record = {"status": status, "is_public": True, "checksum": version.checksum}
        if self._is_sized and self._random.random() < 0.8:
            record["size"] = version.size
        if self._random.random() < 0.5:
            record |= {"os_hash_algo": "sha512", "os_hash_value": version.sha512}
        record["locations"] = self._locations(version)
        self._around.records.put(f"{self.id}.json", json.dumps(record).encode())

    def _put(self, version: Version) -> None:
        """Put the data of a version at the locations of its record."""
        raise NotImplementedError

    def _locations(self, version: Version) -> list[str]:
        raise NotImplementedError

    def _deactivate(self) -> None:
        version = self.version
        with self.history.during("403"):
            self._put_record(version, "deactivated")
            self._hide()
            self._dwell()
            self._show(version)

    def _delete_record(self) -> None:
        version = self.version
        with self.history.during("404"):
            self._around.records.remove(f"{self.id}.json")
            self._hide()
            self._dwell()
            self._show(version)


class Tidy(Changing):
    """Changes as docs/records.md requires: new data under a new name, then the record.

    Its parts, and files made of them, are right whatever happens.
    """

    def __init__(self, about: About, *data: Keeper) -> None:
        """:param data: the places of its data, in the order of its locations."""
        super().__init__(about)
        self._data = data
        self._former: Version | None = None
        self.changes = {
            "record: new version": self._rotate,
            "record: back": self._rotate_back,
            "record: deactivated": self._deactivate,
            "record: deleted": self._delete_record,
        }

    def remove(self) -> None:
        self._around.records.remove(f"{self.id}.json")
        for version in filter(None, (self.version, self._former)):
            self._remove(version)

    def _rotate(self) -> None:
        oldest, self._former = self._former, self.version
        version = self._new_version()
        self._put(version)
        self._show(version)
        if oldest is not None:
            self._remove(oldest)

    def _rotate_back(self) -> None:
        if self._former is not None:
            former, self._former = self._former, self.version
            self._show(former)

    def _put(self, version: Version) -> None:
        for keeper in self._data:
            keeper.put(self._name(version), version.data)

    def _remove(self, version: Version) -> None:
        for keeper in self._data:
            keeper.remove(self._name(version))

    def _name(self, version: Version) -> str:
        return f"{version.image_id}.{version.number}"

    def _locations(self, version: Version) -> list[str]:
        return [keeper.location(self._name(version)) for keeper in self._data]


class Untidy(Changing):
    """An image whose data keeps its name, while data and record change one after the other."""

    def __init__(self, about: About, data: Keeper) -> None:
        super().__init__(about)
        self._data = data
        self.changes = {
            "data, then record": self._data_first,
            "record, then data": self._record_first,
            "data: removed": self._remove_data,
        }

    def remove(self) -> None:
        self._around.records.remove(f"{self.id}.json")
        self._data.remove(self.id)

    @contextmanager
    def _changing_data(self) -> Iterator[None]:
        """The bytes under its name may change until the block ends."""
        with self.history.during(CHANGED):
            yield

    def _put(self, version: Version) -> None:
        with self._changing_data():
            self._data.put(self.id, version.data)

    def _locations(self, version: Version) -> list[str]:
        return [self._data.location(self.id)]

    def _data_first(self) -> None:
        version = self._new_version()
        with self.history.during(*DAMAGED):
            self._put(version)
            self._dwell()
            self._show(version)

    def _record_first(self) -> None:
        version = self._new_version()
        with self.history.during(*DAMAGED):
            self._show(version)
            self._dwell()
            self._put(version)

    def _remove_data(self) -> None:
        with self.history.during(*DAMAGED):
            with self._changing_data():
                self._data.remove(self.id)
            self._dwell()
            self._put(self.version)


class Rewriting(Enum):
    """Which changes imageapi notices in a file that is overwritten and gets its old times back.

    :cvar NEVER: none.
    :cvar KEEPS_NAME: all, as long as the file is not removed or replaced.
    :cvar ALWAYS: all.
    """

    NEVER = "never"
    KEEPS_NAME = "keeps name"
    ALWAYS = "always"


class UntidyFile(Untidy):
    """An untidy image whose file is also written to in place."""

    # A client that reads during a write notices most faults.
    demand = 4

    def __init__(self, about: About, data: Folder, rewrite: Rewriting) -> None:
        """:param rewrite: which rewrites with the same size and time imageapi notices."""
        super().__init__(about, data)
        self._rewriting = rewrite
        self._path: Path = data.path(about.id)
        self.changes = {
            **self.changes,
            "data: truncated": self._truncate,
            "data: truncated, then replaced": self._truncate_and_replace,
            "data: appended to": self._append,
            "data: touched": self._touch,
        }
        if rewrite is not Rewriting.NEVER:
            self.changes = {
                **self.changes,
                "data: rewritten, time set back": self._rewrite,
                "data: rewritten, and back": self._rewrite_and_back,
            }

    def _truncate(self) -> None:
        self._settle()
        with self.history.during(*DAMAGED):
            self._cut()
            self._dwell()
            self._put(self.version)

    def _cut(self) -> None:
        with self._changing_data():
            os.truncate(self._path, self._random.randrange(self.version.size))

    def _truncate_and_replace(self) -> None:
        """Replace the truncated file by other data of the old size, while clients still read it."""
        self._settle()
        self._number += 1
        version = Version(self.id, self._number, self.version.size)
        with self.history.during(*DAMAGED):
            self._cut()
            self._put(version)
            self._show(version)

    def _append(self) -> None:
        self._settle()
        with self.history.during(*DAMAGED):
            with self._changing_data(), self._path.open("ab") as file:
                file.write(b"more")
            self._dwell()
            self._put(self.version)

    def _touch(self) -> None:
        # The data is the same, and parts of it may still be sent.
        with self.history.during("503", "broken"):
            os.utime(self._path)

    def _rewrite(self) -> None:
        self._settle()
        with self.history.during(*DAMAGED):
            self._write_over(self._other())
            self._dwell()
            self._outlast_readers()
            self._put(self.version)

    def _rewrite_and_back(self) -> None:
        self._settle()
        with self.history.during(*DAMAGED):
            self._write_over(self._other())
            self._dwell()
            self._write_over(self.version)
            self._dwell()
            self._outlast_readers()
            # If the version depends only on that time, imageapi still refuses it as wrong data.
            self._put(self.version)

    def _outlast_readers(self) -> None:
        """Keep the name of a file whose time was set back, as long as a client reads it.

        The ctime is the only trace of the rewriting, and removing the name changes it again.
        """
        if self._rewriting is Rewriting.KEEPS_NAME:
            self.wait_for_readers()

    def _other(self) -> Version:
        """Other data, of the current size."""
        return Version(f"other-{self.id}", self._number, self.version.size)

    def _write_over(self, version: Version) -> None:
        """Overwrite the file in several pieces, so that readers see some of them."""
        before = self._path.stat()
        piece = version.size // 8 + 1
        with self._changing_data(), self._path.open("r+b", buffering=0) as file:
            for start in range(0, version.size, piece):
                file.write(version.data[start : start + piece])
                time.sleep(self._random.uniform(0, 0.02))
        os.utime(self._path, ns=(before.st_atime_ns, before.st_mtime_ns))


class UntidyDynamic(Untidy):
    """A dynamic large object of Swift, whose segments are replaced one by one."""

    demand = 3
    _SEGMENTS = 4

    def __init__(self, about: About, data: Container) -> None:
        super().__init__(about, data)
        self._container = data
        self.changes = {
            "segments, then record": self._segments_first,
            "record, then segments": self._segments_last,
        }

    def _segments_first(self) -> None:
        self._settle()
        # Swift may list new segments late.
        with self._changing_data():
            self._data_first()

    def _segments_last(self) -> None:
        self._settle()
        with self._changing_data():
            self._record_first()

    def create(self) -> None:
        super().create()
        self._container.put_dynamic(self.id, f"{self.id}/")

    def remove(self) -> None:
        super().remove()
        for number in range(self._SEGMENTS):
            self._container.remove(f"{self.id}/{number}")

    def _new_version(self) -> Version:
        # Always of one size, because Swift may learn the new size of a segment late.
        self._number += 1
        return Version(self.id, self._number, self._size)

    def _put(self, version: Version) -> None:
        piece = version.size // self._SEGMENTS
        for number in range(self._SEGMENTS):
            data = version.data[number * piece : (number + 1) * piece]
            self._container.put(f"{self.id}/{number}", data)
