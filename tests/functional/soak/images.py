# SPDX-License-Identifier: Apache-2.0
"""Images that are changed over and over, as they should be and as they should not."""

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

# The largest is larger than all that lies between a server's disk and its client.
SIZES = (30_000, 2_000_000, 8_000_000)

#: What an image may be answered with whose data is not as its record says.
DAMAGED: tuple[Fact, ...] = ("404", "500", "503", "broken", "blurred")

# Shorter and longer than it takes for a file's times to settle; and long enough
# for its data to be verified then, and sent unverified.
_SHORT, _LONG, _LONGEST = (0.05, 0.5), (2.2, 3.0), (3.5, 5.5)


@dataclass(frozen=True)
class Surroundings:
    """What all images of a turn share.

    :ivar stopping: set when the storm is over.
    """

    records: Keeper
    random: Random
    stopping: threading.Event


@dataclass(frozen=True)
class About:
    """What is so of an image from the first.

    :ivar kind: by which answers are counted.
    :ivar servers: on whom it depends.
    :ivar is_sized: whether its records may say how large it is.
    """

    id: str
    kind: str
    servers: tuple[str, ...]
    surroundings: Surroundings
    is_sized: bool = True


class Changing:
    """An image; one thread changes it, and many ask for it.

    :ivar kind, servers: as for `About`.
    :ivar changes: by their names, what may be done to it.
    :cvar demand: how often it is asked for, compared with others.
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
        # Of its own, since one that threads share does not repeat.
        self._random = Random(about.surroundings.random.random())
        self._number = 0
        self._size = SIZES[-1]
        self._shown: tuple[Version, Span] | None = None
        self._readers: set[object] = set()

    def create(self) -> None:
        """Make its first version."""
        version = self._new_version()
        self._put(version)
        self._show(version)

    def remove(self) -> None:
        """Take it away."""
        raise NotImplementedError

    @property
    def version(self) -> Version:
        """The one that its record is of."""
        assert self._shown is not None
        return self._shown[0]

    @contextmanager
    def being_read(self) -> Iterator[None]:
        """Somebody asks for it until the block ends."""
        reader = object()
        self._readers.add(reader)
        try:
            yield
        finally:
            self._readers.remove(reader)

    def wait_for_readers(self) -> None:
        """Wait until all are done who read it now."""
        readers = set(self._readers)
        while readers & set(self._readers):
            time.sleep(0.05)

    def _dwell(self) -> None:
        """Leave things as they are for a while."""
        self._wait(*self._random.choice([_SHORT, _SHORT, _LONG]))

    def _settle(self) -> None:
        """Leave things as they are until they are known as verified."""
        self._wait(*_LONGEST)

    def _wait(self, shortest: float, longest: float) -> None:
        self._around.stopping.wait(self._random.uniform(shortest, longest))

    def _new_version(self) -> Version:
        """Mostly as large as the last one, so that the size gives nothing away."""
        self._number += 1
        if self._random.random() < 0.2:
            (self._size,) = self._random.choices(SIZES, (1, 2, 2))
        return Version(self.id, self._number, self._size)

    def _show(self, version: Version) -> None:
        """Replace the record by that of a version."""
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
        """Put a version's data where its record says."""
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
    """Changed as docs/records.md says: new data under a new name, and then the record.

    Its parts, and what is put together of them, are right whatever happens.
    """

    def __init__(self, about: About, *data: Keeper) -> None:
        """:param data: where its data is, in the order in which it is looked for."""
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
    """Its data always has the same name: data and record change one after the other."""

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
        """The bytes at its name become others until the block ends."""
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
    """What is noticed of a file that is written over, and given its old times.

    :cvar NEVER: nothing.
    :cvar KEEPS_NAME: all, as long as the file is not removed or replaced.
    :cvar ALWAYS: all.
    """

    NEVER = "never"
    KEEPS_NAME = "keeps name"
    ALWAYS = "always"


class UntidyFile(Untidy):
    """Its file is written to in place, too."""

    # Since one that reads it while it is written to sees the most.
    demand = 4

    def __init__(self, about: About, data: Folder, rewrite: Rewriting) -> None:
        """:param rewrite: whether other bytes of the same length and time are written there."""
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
        """Put other data of the same size there, while the truncated file is still read."""
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
        # It is the same data, and is sent on in parts.
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
            # Where a version is made of that time alone, it is still known as a wrong one.
            self._put(self.version)

    def _outlast_readers(self) -> None:
        """Leave the name to a file whose time was set back, as long as it is being read.

        With it goes the only trace of that: the loss of a name changes the ctime, too.
        """
        if self._rewriting is Rewriting.KEEPS_NAME:
            self.wait_for_readers()

    def _other(self) -> Version:
        """As large as what is there."""
        return Version(f"other-{self.id}", self._number, self.version.size)

    def _write_over(self, version: Version) -> None:
        """In some pieces, so that readers see some of them."""
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
        # Swift may take a while to list new segments.
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
        # Of one size, since Swift is late to know another of a segment.
        self._number += 1
        return Version(self.id, self._number, self._size)

    def _put(self, version: Version) -> None:
        piece = version.size // self._SEGMENTS
        for number in range(self._SEGMENTS):
            data = version.data[number * piece : (number + 1) * piece]
            self._container.put(f"{self.id}/{number}", data)
