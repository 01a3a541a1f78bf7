# SPDX-License-Identifier: Apache-2.0
"""Images that change again and again, as the documentation requires."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from imageapi.cache.contents import PART, is_locked
from tests.functional.soak.history import Fact, History, Span, Version
from tests.functional.soak.keepers import DataKeeper, Keeper

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
    :ivar cache: the folder of the cache; empty without one.
    """

    records: Keeper
    random: Random
    stopping: threading.Event
    cache: Path

    def wait_for_fills(self) -> None:
        """Wait until all files that the cache fills now are complete, or discarded."""
        filled = self._fills()
        while filled & self._fills():
            time.sleep(0.05)

    def _fills(self) -> set[int]:
        # Without a lock, it is what a killed worker has left.
        entries = [one for one in os.scandir(self.cache) if one.name.endswith(PART)]
        return {one.inode() for one in entries if is_locked(one.path)}


@dataclass(frozen=True)
class About:
    """The properties of an image that never change.

    :ivar kind: the class in which answers are counted.
    :ivar servers: the names of the servers that it depends on.
    :ivar is_sized: whether its records may have a size.
    :ivar keeps_readers: whether data that is removed can still be read by those who read it.
    """

    id: str
    kind: str
    servers: tuple[str, ...]
    surroundings: Surroundings
    is_sized: bool = True
    keeps_readers: bool = True


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
        self._keeps_readers = about.keeps_readers
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

    def __init__(self, about: About, *data: DataKeeper) -> None:
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
            # A client may have the oldest record, and open its data only now.
            with self.history.during(*(("404",) if self._keeps_readers else DAMAGED)):
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
