# SPDX-License-Identifier: Apache-2.0
"""Test cases for every store with a writer (see `imageapi.testing.suite`).

A subclass of `DataWriterSuite` defines the same methods as one of `StoreSuite`.  One
class can have both suites.  The store that `make_store` creates has no data.
"""

import io
from contextlib import suppress
from functools import partial

from imageapi.backends.base import StoreBackend
from imageapi.backends.writing import DataWriter, HashingReader, NewData, WriteError
from imageapi.errors import DataNotFound, ImageAPIError
from imageapi.image import Image, Location
from imageapi.testing.concurrency import Act
from imageapi.testing.store_hooks import StoreHooks, pattern
from imageapi.testing.writing import ALIKE_IDS, WritingHelpers


class _Stopped(BaseException):
    """Stops the writing, as KeyboardInterrupt does."""


class _FailingSource(io.BytesIO):
    """Raises an error when half of the data is read."""

    def __init__(self, data: bytes, error: BaseException) -> None:
        super().__init__(data[: len(data) // 2])
        self._error = error

    def read(self, size: int | None = -1) -> bytes:
        chunk = super().read(size)
        if not chunk:
            raise self._error
        return chunk


class DataWriterSuite(WritingHelpers, StoreHooks, mixin=True):
    """The methods that the author defines are those of `StoreHooks`."""

    # Helpers of the cases.

    def writer_of(self, store: StoreBackend) -> DataWriter:
        writer: object = self.works("writer()", store.writer)
        kind = type(writer).__name__
        if not isinstance(writer, DataWriter):
            self.fail(f"writer() of the store must return a DataWriter, not {kind}")
        return writer

    @property
    def writer(self) -> DataWriter:
        return self.writer_of(self.store)

    def new_data(
        self, image_id: str, data: bytes, *, is_replacement: bool = False, size: int | None = None
    ) -> NewData:
        """Put data; may raise."""
        source = HashingReader(io.BytesIO(data), lambda _: None, size)
        new = self.writer.put(image_of(image_id), source, is_replacement=is_replacement)
        kind = type(new).__name__
        self.must(isinstance(new, NewData), f"put() must return NewData, not {kind}")
        read = source.digests().size
        what = f"put() must read the data to its end, but read {read} of {len(data)} bytes"
        self.must(read == len(data), what)
        return new

    def kept(
        self, image_id: str, data: bytes, *, is_replacement: bool = False, size: int | None = None
    ) -> Location:
        """Put data that must be accepted, and keep it; return its location."""
        act = partial(self.new_data, image_id, data, is_replacement=is_replacement, size=size)
        with self.writes(f"put() for {image_id!a:.40}", act) as new:
            new.is_kept = True
        return new.location or self.store.locate(image_id)

    def discarded(self, image_id: str, data: bytes, *, is_replacement: bool = False) -> Location:
        """Put data that must be accepted, and do not keep it."""
        act = partial(self.new_data, image_id, data, is_replacement=is_replacement)
        with self.writes("put()", act) as new:
            location = new.location or self.store.locate(image_id)
            self.reads(location, data, when="before put()'s `with` block has ended")
        return location

    def is_gone(self, location: Location, when: str) -> None:
        self.refuses(when, location, DataNotFound)

    # The cases.

    def test_writer_puts_data(self) -> None:
        for number, size in enumerate((0, 1, self.chunk_size, 3 * self.chunk_size + 1)):
            data = pattern(size)
            for known in (None, size):
                location = self.kept(f"suite-{number}-{known}", data, size=known)
                self.reads(location, data, when="that the writer put")

    def test_writer_removes_what_is_not_kept(self) -> None:
        data = pattern(3 * self.chunk_size + 1)
        location = self.discarded("suite", data)
        self.is_gone(location, "of data that was not kept (remove it in close() of NewData)")
        self.reads(self.kept("suite", data), data, when="put again")

    def test_writer_keeps_data_that_exists(self) -> None:
        first, other = pattern(100), pattern(200)
        location = self.kept("suite", first)
        act = partial(self.new_data, "suite", other)
        new = self.attempted("a second put() for an image", act)
        if isinstance(new, NewData):
            self.works("close() of NewData", new.close)
        self.reads(location, first, when="after a second put() for the image")

    def test_writer_puts_replacements_elsewhere(self) -> None:
        first, second, third = pattern(100), pattern(200), pattern(300)
        location = self.kept("suite", first)
        other = self.kept("suite", second, is_replacement=True)
        self.must(other != location, "put() with is_replacement=True must write to a new place")
        self.reads(location, first, when="after it was replaced, and before it is removed")
        self.reads(other, second, when="that replaces others")
        gone = self.discarded("suite", third, is_replacement=True)
        self.is_gone(gone, "of a replacement that was not kept")
        self.reads(location, first, when="after a replacement was not kept")
        self.reads(other, second, when="after a replacement was not kept")

    def test_writer_takes_no_ids_for_the_same(self) -> None:
        placed = []
        for number, image_id in enumerate(ALIKE_IDS):
            data = pattern(100 + number)
            placed.append((self.kept(image_id, data), data))
        for location, data in placed:
            self.reads(location, data, when="after data of similar ids was put")

    def test_writer_leaves_nothing_if_the_source_fails(self) -> None:
        data = pattern(3 * self.chunk_size)
        for error in (OSError(5, "broken"), _Stopped()):
            source = HashingReader(_FailingSource(data, error), lambda _: None, len(data))
            with suppress(_Stopped):
                act = partial(self.writer.put, image_of("suite"), source, is_replacement=False)
                self.writes_not("put() from a source that fails", act, WriteError)
            what = f"where a put() was stopped by {type(error).__name__}"
            self.is_gone(self.store.locate("suite"), what)
            left = [leftover.name for leftover in self.writer.leftovers(())]
            mend = "remove what was written, also at a BaseException"
            self.must(not left, f"put() that was stopped left {', '.join(left)}: {mend}")

    def test_writer_owns_what_it_put(self) -> None:
        first = self.kept("suite", pattern(10))
        second = self.kept("suite", pattern(20), is_replacement=True)
        others = [self.kept(name, pattern(30)) for name in ("suite2", "suit", "SUITE")]
        foreign = [Location(url) for url in ("", "foreign:x", f"{first.scheme}:", "///\0")]

        def owns(location: Location) -> bool:
            return self.works("owns()", lambda: self.writer.owns("suite", location))

        for location in (first, second):
            what = "owns() must be True for what put() wrote for this image, and replacements"
            self.must(owns(location) is True, what)
        for location in (*others, *foreign):
            what = "owns() must be False for data of another image, and for what put() never writes"
            self.must(owns(location) is False, what)

    def test_writer_removes_data(self) -> None:
        location = self.kept("suite", pattern(10))
        replacement = self.kept("suite", pattern(20), is_replacement=True)
        other = self.kept("suite2", pattern(30))
        self.writes("remove()", lambda: self.writer.remove(location))
        self.is_gone(location, "of data that the writer removed")
        self.writes("remove() of data that is gone", lambda: self.writer.remove(location))
        self.reads(replacement, pattern(20), when="after the data that it replaces was removed")
        self.reads(other, pattern(30), when="after data of another image was removed")

    def test_writer_finds_leftovers(self) -> None:
        used = self.kept("suite", pattern(10)), self.kept("suite2", pattern(20))
        left = self.kept("suite", pattern(30), is_replacement=True)
        found = self.writes("leftovers()", lambda: list(self.writer.leftovers(iter(used))))
        self.must(bool(found), "leftovers() must find data that no record uses")
        # One upload may leave several objects.
        for one in found:
            self.must(one.image_id in ("suite", None), "a leftover's image_id is of another image")
            self.must(one.location in (left, None), "a leftover's location is of other data")
            self.must(0 <= one.seconds + 5 < 1000, "the seconds of a leftover must be its age")
            self.writes("remove() of a leftover", one.remove)
        self.is_gone(left, "of a leftover that was removed")
        again = self.writes("leftovers()", lambda: list(self.writer.leftovers(used)))
        self.must(not again, "leftovers() must find only data that no record uses")
        for location, size in zip(used, (10, 20), strict=True):
            self.reads(location, pattern(size), when="after a leftover was removed")

    def test_writer_finds_first_data_without_a_record(self) -> None:
        before = self.works("left_behind()", lambda: self.writer.left_behind("suite"))
        self.must(before is None, "left_behind() must be None if nothing was put")
        location = self.kept("suite", pattern(10))
        found = self.works("left_behind()", lambda: self.writer.left_behind("suite"))
        what = (
            "left_behind() must be the location of the first data, or None for places of their own"
        )
        self.must(found in (location, None), what)

    def test_writer_puts_once_in_two_threads(self) -> None:
        numbers = iter(range(10**6))

        def prepare() -> tuple[Act, Act]:
            image_id = f"suite-{next(numbers)}"
            done: list[tuple[Location, bytes]] = []

            def put(data: bytes) -> None:
                act = partial(self.new_data, image_id, data)
                new = self.attempted("put() in two threads", act)
                if isinstance(new, ImageAPIError):
                    return
                with new:
                    new.is_kept = True
                done.append((new.location or self.store.locate(image_id), data))
                for location, kept in done:
                    self.reads(location, kept, when="after two threads put data for its image")

            return partial(put, pattern(100)), partial(put, pattern(200))

        mend = "two put() for one image must not write to the same place: create it exclusively"
        self.interleaved(prepare, mend)

    def test_writer_leaves_nothing_open(self) -> None:
        data = pattern(self.chunk_size)
        self.leaks_nothing("put()", lambda: self.discarded("suite", data))

    def test_writer_of_an_upstream_out_of_reach(self) -> None:
        made = self.unreachable_and_location()
        if made is None:
            return
        writer = self.writer_of(made[0])
        source = HashingReader(io.BytesIO(b"data"), lambda _: None)
        act = partial(writer.put, image_of("suite"), source, is_replacement=False)
        self.writes_not("put() with an unreachable upstream", act)


def image_of(image_id: str) -> Image:
    """Return the image that the commands give to a writer."""
    return Image(id=image_id, status="active")
