# SPDX-License-Identifier: Apache-2.0
"""What an author defines for `imageapi.testing.store_suite`, and helpers for its cases."""

import hashlib
import uuid
from collections.abc import Collection, Iterable
from typing import Any, cast

from imageapi.backends.base import Blob, StoreBackend
from imageapi.errors import BackendError, RangeNotSupported
from imageapi.image import Location
from imageapi.testing.suite import CHUNK_SIZE, BackendSuite


def pattern(size: int, salt: bytes = b"") -> bytes:
    """Return data without repeated parts; each salt gives different data."""
    return hashlib.shake_256(b"imageapi" + salt).digest(size)


class StoreHooks(BackendSuite, mixin=True):
    """The methods that the author defines come first, and helpers for the cases below them.

    :cvar chunk_size: the chunk size of the store that `make_store` creates.
    :cvar has_versions: False for a store whose Blobs never have a version.
    :ivar store: the store that `make_store` created for this case.
    """

    chunk_size = CHUNK_SIZE
    has_versions = True

    def make_store(self) -> StoreBackend:
        """Create the store; called once in each case, before anything else."""
        raise NotImplementedError("define make_store(): it returns the store under test")

    def put(self, data: bytes) -> Location:
        """Add data to ``self.store``, each time at a new location."""
        raise NotImplementedError("define put(data): it returns the Location of the data")

    def make_unreachable(self) -> tuple[StoreBackend, Location] | None:
        """Create a store with an unreachable upstream, and return a location in it too.

        Return None if the store has no upstream, such as one in memory.
        """
        raise NotImplementedError(
            "define make_unreachable(): an unreachable store and a Location, or None"
        )

    def missing(self) -> Location:
        """Return a location that the store may open, but that has no data."""
        return self.store.locate(uuid.uuid4().hex)

    def replace(self, location: Location, data: bytes) -> None:
        """Replace the data at a location, as a user of the store would."""
        self.not_proved("define replace(location, data)")

    def remove(self, location: Location) -> None:
        """Remove the data at a location."""
        self.not_proved("define remove(location)")

    def put_at(self, location: Location, data: bytes) -> None:
        """Add data at a location that the store's `locate` has returned."""
        self.not_proved("define put_at(location, data): it puts data where locate() says")

    def forbidden(self) -> Iterable[Location] | None:
        """Make data that the store must not open, and return its locations.

        Return None if there can be no such data, such as for a store in memory.

        For example a file beside the store's folder, and a link in the folder that leads
        to it; or a container that the store must not read.
        """
        self.not_proved("define forbidden(): it returns locations that open() must refuse")

    def damage(self, location: Location) -> None:
        """Damage the data at a location, as a fault of its disk or of an interrupted copy."""
        self.not_proved("define damage(location): it makes the data unreadable or wrong")

    # Helpers of the cases.

    def setUp(self) -> None:
        super().setUp()
        self.store = self.backend = self.closed_later(self.make_store())

    def unreachable(self) -> StoreBackend | None:
        made = self.unreachable_and_location()
        return None if made is None else made[0]

    def unreachable_and_location(self) -> tuple[StoreBackend, Location] | None:
        """Return the result of `make_unreachable`; the store is closed after the case."""
        made: object = self.make_unreachable()
        if made is None:
            return None
        is_pair = isinstance(made, tuple) and len(made) == 2 and isinstance(made[1], Location)
        self.must(is_pair, "make_unreachable() must return a store and a Location in it, or None")
        store, location = cast(tuple[StoreBackend, Location], made)
        return self.closed_later(store), location

    def put_some(self, salt: bytes = b"") -> tuple[bytes, Location]:
        """Add data of several chunks and one byte; return data and location."""
        data = pattern(3 * self.chunk_size + 1, salt)
        return data, self.put(data)

    def opened(
        self,
        location: Location,
        start: int = 0,
        stop: int | None = None,
        version: str | None = None,
    ) -> Blob:
        """Open a location; may raise."""
        self.must(
            isinstance(location, Location),
            f"put(), missing() and locate() must return a Location, not {type(location).__name__}",
        )
        return self.store.open(
            location, start=start, stop=stop, version=version, caller=self.caller
        )

    def open(
        self,
        location: Location,
        start: int = 0,
        stop: int | None = None,
        version: str | None = None,
    ) -> Blob:
        """Open a location that must open."""
        what = f"open(start={start}, stop={stop}, version={version!r:.80})"
        return self.works(what, lambda: self.opened(location, start, stop, version))

    def error_of(self, location: Location, version: str | None = None) -> BackendError | None:
        """Open a location that may fail to open; return the error, or None."""
        what = f"open(start=0, stop=None, version={version!r:.80})"
        blob = self.tried(what, lambda: self.opened(location, version=version))
        if isinstance(blob, BackendError):
            return blob
        blob.close()
        return None

    def needs_versions(self, versions: Collection[str | None]) -> None:
        """Skip the case if one of these versions is None; fail if that contradicts the suite."""
        if self.has_versions and None in versions:
            self.not_proved(
                "version is None: let make_store() set the age from which data has a version to"
                " 0, or set has_versions = False if it never has one"
            )
        if not self.has_versions:
            mend = "a Blob has a version, but the suite has has_versions = False: remove that"
            self.must(set(versions) == {None}, mend)
            self.skipTest("not tested: has_versions is False")

    def refuses(
        self, why: str, location: Location, *kinds: type[BackendError], **part: Any
    ) -> None:
        """Open a location, which must raise one of these errors; ``part`` is as in `opened`."""
        self.refused(f"open() {why}", lambda: self.opened(location, **part), *kinds)

    def next_of(self, blob: Blob) -> bytes | None:
        """Return the next chunk after checking it; None at the end."""
        chunk = self.works("__next__()", lambda: next(blob, None))
        if chunk is not None:
            self.is_chunk(chunk)
        return chunk

    def is_chunk(self, chunk: object) -> None:
        """Fail if this is not a valid chunk."""
        self.must(
            type(chunk) is bytes,
            f"a chunk must be exactly of type bytes, not {type(chunk).__name__}",
        )
        self.must(chunk != b"", "a chunk must not be empty: raise StopIteration at the end")

    def next_or_error(self, blob: Blob, when: str) -> object:
        """Return the next chunk; or None or an error, if there is none."""
        return self.tried(f"__next__() {when}", lambda: next(blob, None))

    def read(self, blob: Blob, at_most: int, what: str) -> bytes:
        """Read all bytes of a Blob, and close it."""
        data = b""
        while (chunk := self.next_of(blob)) is not None:
            data += chunk
            if len(data) > at_most:
                self.fail(f"{what} must not return more than all {at_most} bytes")
        self.works("a Blob's close()", blob.close)
        return data

    def begun(self, location: Location, chunks: int) -> Blob:
        """Open a Blob and read so many chunks; it may be at its end then."""
        blob = self.open(location)
        for _ in range(chunks):
            self.next_of(blob)
        return blob

    def closed_after(self, location: Location, chunks: int) -> Blob:
        """Open a Blob, read so many chunks, and close it."""
        blob = self.begun(location, chunks)
        blob.close()
        return blob

    def reads(
        self,
        location: Location,
        data: bytes,
        start: int = 0,
        stop: int | None = None,
        when: str = "",
    ) -> None:
        """Open and read a part of the data at a location, and compare it.

        A store without ranges must refuse to read a part.
        """
        part = data[start:stop]
        what = f"open(start={start}, stop={stop}) of {len(data)} bytes{when and f', {when},'}"
        if self.store.ranges or part == data:
            # A store without ranges accepts no stop, even if it is the end.
            end = stop if self.store.ranges else None
            try:
                blob = self.works(what, lambda: self.opened(location, start, end))
            except self.failureException as failure:
                if isinstance(failure.__cause__, RangeNotSupported):
                    self.fail(f"{failure}; if the store reads no ranges, set ranges = False")
                raise
            self.same(part, self.read(blob, len(data), what), what)
        else:
            why = f"with start={start}, stop={stop}, by a store with ranges = False"
            self.refuses(why, location, RangeNotSupported, start=start, stop=stop)

    def same(self, wanted: bytes, got: bytes, what: str) -> None:
        """Fail if these bytes differ, and say where."""
        if wanted != got:
            pairs = enumerate(zip(wanted, got, strict=False))
            first = next((n for n, (one, other) in pairs if one != other), None)
            where = "" if first is None else f", and byte {first} is wrong"
            self.fail(f"{what} must return {len(wanted)} bytes, but returned {len(got)}{where}")
