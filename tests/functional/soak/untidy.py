# SPDX-License-Identifier: Apache-2.0
"""Images whose data changes in wrong ways: under its name, or before its record does."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path

from tests.functional.soak.history import CHANGED, Fact, Version
from tests.functional.soak.images import DAMAGED, About, Changing
from tests.functional.soak.keepers import Container, DataKeeper, Folder


class Untidy(Changing):
    """An image whose data keeps its name, while data and record change one after the other.

    :cvar damaged: the facts while its data does not match its record.
    """

    damaged: tuple[Fact, ...] = DAMAGED

    def __init__(self, about: About, data: DataKeeper) -> None:
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
    def _damaging(self) -> Iterator[None]:
        """Data and record differ in the block; the cache may begin to fill with such data."""
        with self.history.during(*self.damaged):
            yield
            self._around.wait_for_fills()

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
        with self._damaging():
            self._put(version)
            self._dwell()
            self._show(version)

    def _record_first(self) -> None:
        version = self._new_version()
        with self._damaging():
            self._show(version)
            self._dwell()
            self._put(version)

    def _remove_data(self) -> None:
        with self._damaging():
            with self._changing_data():
                self._data.remove(self.id)
            self._dwell()
            self._put(self.version)


class UntidyS3(Untidy):
    """Swift's S3 says no size with a 416. So 502 if the data is shorter than a requested part."""

    damaged = (*DAMAGED, "502")


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
        with self._damaging():
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
        with self._damaging():
            self._cut()
            self._put(version)
            self._show(version)

    def _append(self) -> None:
        self._settle()
        with self._damaging():
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
        with self._damaging():
            self._write_over(self._other())
            self._dwell()
            self._outlast_readers()
            self._put(self.version)

    def _rewrite_and_back(self) -> None:
        self._settle()
        with self._damaging():
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
