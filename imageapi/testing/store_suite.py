# SPDX-License-Identifier: Apache-2.0
"""What every store must do, as cases for a plugin's own tests (see `imageapi.testing.suite`).

A subclass of `StoreSuite` defines `make_store`, `put` and `make_unreachable`,
and where it can `replace` and `remove`.
"""

import hashlib
import itertools
import uuid

from imageapi.backends.base import Blob, StoreBackend
from imageapi.errors import (
    BackendError,
    DataChanged,
    DataNotFound,
    LocationRefused,
    RangeNotSupported,
)
from imageapi.image import Location
from imageapi.testing.suite import CHUNK_SIZE, BackendSuite

_SECRET = "suite-secret"  # noqa: S105 - made up
_ABSENT = (DataNotFound, LocationRefused)
# What no store can have, after each of its schemes.
_NONSENSE = (
    "",
    "//",
    "///",
    "//[",
    "%00",
    "///%00",
    "///\0",
    "///\ud800",
    "///../../../etc/passwd",
    "///" + "x" * 5000,
)
_ODD_IDS = ("suite", "SUITE", ".", "..", "%2F", "a b", "a?b", "a#b", "\N{SNOWMAN}", "x" * 300)


def pattern(size: int) -> bytes:
    """Data in which no part looks like another."""
    return hashlib.shake_256(b"imageapi").digest(size)


class StoreSuite(BackendSuite, mixin=True):
    """The cases of a store.

    :cvar chunk_size: of the store that `make_store` makes.
    :ivar store: what `make_store` made for this case.
    """

    chunk_size = CHUNK_SIZE

    def make_store(self) -> StoreBackend:
        """Make the store; called once in each case, before all else."""
        raise NotImplementedError("define make_store(): it returns the store under test")

    def put(self, data: bytes) -> Location:
        """Put data where ``self.store`` finds it, each time at another place."""
        raise NotImplementedError("define put(data): it returns the Location of the data")

    def make_unreachable(self) -> tuple[StoreBackend, Location] | None:
        """Make a store whose upstream cannot be reached, and name a location in it.

        None for a store that has no upstream, such as one in memory.
        """
        raise NotImplementedError("define make_unreachable(): a store that reaches nothing, or None")

    def missing(self) -> Location:
        """A location that the store may open, but where nothing lies."""
        return self.store.locate(uuid.uuid4().hex)

    def replace(self, location: Location, data: bytes) -> None:
        """Put other data at a location, as a user of the store would."""
        self.skipTest("not proved: define replace(location, data)")

    def remove(self, location: Location) -> None:
        """Remove the data at a location."""
        self.skipTest("not proved: define remove(location)")

    def setUp(self) -> None:
        super().setUp()
        self.store = self.make_store()
        self.addCleanup(self.store.close)

    def backend(self) -> StoreBackend:
        return self.store

    def unreachable(self) -> StoreBackend | None:
        made = self.make_unreachable()
        return None if made is None else made[0]

    # Reading.

    def test_reads_the_whole(self) -> None:
        for size in (1, self.chunk_size, 2 * self.chunk_size, 3 * self.chunk_size + 1):
            data = pattern(size)
            self._reads(self.put(data), data)

    def test_reads_empty_data(self) -> None:
        blob = self._open(self.put(b""))
        self.assertEqual(b"", self._read(blob, 0), "empty data must be read as no bytes")
        self.assertIn(blob.total_size, (0, None), "total_size of empty data must be 0, or None")

    def test_reads_first_and_last_byte(self) -> None:
        data, location = self._put_some()
        self._reads(location, data, 0, 1)
        self._reads(location, data, len(data) - 1, len(data))
        self._reads(location, data, len(data) - 1, None)

    def test_reads_ranges_at_borders_of_chunks(self) -> None:
        data, location = self._put_some()
        borders = {n * self.chunk_size + more for n in (0, 1, 2) for more in (-1, 0, 1)}
        borders = (borders | {len(data)}) - {-1}
        for start, stop in itertools.combinations(sorted(borders), 2):
            self._reads(location, data, start, stop)

    def test_stop_past_the_end(self) -> None:
        data, location = self._put_some()
        for stop in (len(data) + 1, 2 * len(data), 2**64):
            self._reads(location, data, 1, stop)

    def test_nothing_to_read(self) -> None:
        data, location = self._put_some()
        spans = ((1, 1), (len(data), None), (len(data) + 1, None), (2**40, 2**41), (2**64, None))
        for start, stop in spans:
            what = f"open(start={start}, stop={stop}) of {len(data)} bytes"
            blob = self.tried(what, lambda: self._opened(location, start, stop))  # noqa: B023
            if not isinstance(blob, BackendError):
                got = self.tried(what, lambda: self._read(blob, len(data)))  # noqa: B023
                if not isinstance(got, BackendError):
                    self.assertEqual(b"", got, f"{what} must give no bytes, or a BackendError")

    def test_total_size_is_of_the_whole(self) -> None:
        data, location = self._put_some()
        spans: list[tuple[int, int | None]] = [(0, None)]
        spans += [(0, 1), (1, None), (1, 2)] if self.store.ranges else []
        for start, stop in spans:
            blob = self._open(location, start, stop)
            blob.close()
            self.assertIn(
                blob.total_size,
                (len(data), None),
                f"total_size must be that of the whole, or None, also with start={start},"
                f" stop={stop}",
            )

    def test_chunks_are_bytes(self) -> None:
        data, location = self._put_some()
        blob = self._open(location)
        self.assertIs(blob, iter(blob), "a Blob is its own iterator: leave __iter__ as it is")
        self._read(blob, len(data))

    def test_stays_at_its_end(self) -> None:
        blob = self._open(self.put(pattern(10)))
        while next(blob, None) is not None:
            pass
        again = self.tried("__next__() after the end", lambda: next(blob, None))
        blob.close()
        self.assertFalse(isinstance(again, bytes), "after its end a Blob must give no more")

    def test_blobs_are_independent(self) -> None:
        (one, here), (other, there) = self._put_some(), self._put_some(b"other")
        first, second = self._open(here), self._open(there)
        got_first, got_second = [next(first)], [next(second)]
        got_first.append(self._read(first, len(one)))
        got_second.append(self._read(second, len(other)))
        self._same(one, b"".join(got_first), "read while another Blob is, a Blob")
        self._same(other, b"".join(got_second), "read while another Blob is, a Blob")

    # Versions, and data that goes.

    def test_version_opens_again(self) -> None:
        data, location = self._put_some()
        blob = self._open(location)
        blob.close()
        if blob.version is None:
            return
        self.assertIsInstance(blob.version, str, "version must be a text, or None")
        again = self._open(location, version=blob.version)
        self.assertEqual(blob.version, again.version, "the same bytes must have the same version")
        self._same(data, self._read(again, len(data)), "opened by its version, the data")
        if self.store.ranges:
            part = self._open(location, 1, None, blob.version)
            self.assertEqual(blob.version, part.version, "a part must have the whole's version")
            self._same(data[1:], self._read(part, len(data)), "opened by its version, a part")

    def test_wrong_version(self) -> None:
        _, location = self._put_some()
        self._refused_to_open("with another version", location, DataChanged, version="another")
        if self.store.ranges:
            self._refused_to_open(
                "a part with another version", location, DataChanged, start=1, version="another"
            )

    def test_replaced_data(self) -> None:
        data, location = self._put_some()
        blob = self._open(location)
        self._same(data, self._read(blob, len(data)), "the data")
        self.replace(location, data[::-1])
        self._reads(location, data[::-1])
        if blob.version is not None:
            self._refused_to_open(
                "by its version, once replaced,", location, DataChanged, version=blob.version
            )

    def test_replaced_while_it_is_read(self) -> None:
        data, location = self._put_some()
        blob = self._open(location)
        begun = next(blob)
        self.replace(location, data[::-1])
        rest = self.tried("__next__() of replaced data", lambda: self._read(blob, len(data)))
        if not isinstance(rest, BackendError):
            self._same(data, begun + rest, "data that is replaced while it is read")

    def test_removed_data(self) -> None:
        data, location = self._put_some()
        self._reads(location, data)
        self.remove(location)
        self._refused_to_open("of removed data", location, DataNotFound)

    # Locations.

    def test_missing_data(self) -> None:
        self._refused_to_open("where nothing lies", self.missing(), DataNotFound)
        # By its contract a version that is asked for changes nothing about that.
        self._refused_to_open("where nothing lies", self.missing(), DataNotFound, version="any")

    def test_schemes(self) -> None:
        location = self.put(b"data")
        self.assertIsInstance(self.store.schemes, frozenset, "schemes must be a frozenset")
        for scheme in self.store.schemes:
            self.assertEqual(scheme.lower(), scheme, "schemes must be in lower case")
        self.assertIn(location.scheme, self.store.schemes, "schemes lacks that of put()'s URL")
        rest = location.url.partition(":")[2]
        self._reads(Location(f"{location.scheme.upper()}:{rest}"), b"data")

    def test_foreign_scheme(self) -> None:
        rest = self.put(b"data").url.partition(":")[2]
        for url in ("", rest, f"foreign:{rest}"):
            self._refused_to_open("with a foreign scheme", Location(url), *_ABSENT)

    def test_nonsense_locations(self) -> None:
        for scheme, nonsense in itertools.product(sorted(self.store.schemes), _NONSENSE):
            what = f"with the location {scheme}:{nonsense:.40}".encode(errors="replace").decode()
            self._refused_to_open(what, Location(f"{scheme}:{nonsense}"), *_ABSENT)

    def test_locate(self) -> None:
        located: dict[str, str] = {}
        for image_id in _ODD_IDS:
            what = f"locate({image_id!r:.20})"
            location = self.tried(what, lambda: self.store.locate(image_id))  # noqa: B023
            if not isinstance(location, BackendError):
                self.assertIn(location.scheme, self.store.schemes, f"{what}: not a scheme of ours")
                other = located.setdefault(location.url, image_id)
                self.assertEqual(image_id, other, "two ids must not have the same location")
                self._refused_to_open(f"where {what} says", location, *_ABSENT)

    def test_upstream_out_of_reach(self) -> None:
        made = self.make_unreachable()
        if made is not None:
            store, location = made
            self.addCleanup(store.close)
            self.out_of_reach("open()", lambda: store.open(location, caller=self.caller))

    # Closing.

    def test_blob_closes_at_any_time(self) -> None:
        data, location = self._put_some()
        for chunks in range(6):
            blob = self._open(location)
            for _ in range(chunks):
                next(blob, None)
            self.works(f"a Blob's close() after {chunks} chunks", blob.close)
            self.works("a Blob's second close()", blob.close)
            self._reads(location, data)

    def test_no_data_after_close(self) -> None:
        _, location = self._put_some()
        for chunks in (0, 1):
            blob = self._open(location)
            for _ in range(chunks):
                next(blob)
            blob.close()
            chunk = self.tried("__next__() after close()", lambda: next(blob, None))  # noqa: B023
            self.assertFalse(isinstance(chunk, bytes), "a closed Blob must give no more data")

    def test_leaves_no_descriptors_open(self) -> None:
        data, location = self._put_some()

        def open_and_close(chunks: int) -> Blob:
            blob = self._open(location)
            for _ in range(chunks):
                next(blob, None)
            blob.close()
            return blob

        for chunks in (0, 1, len(data)):
            self.leaks_nothing(f"open(), {chunks} chunks and close()", lambda: open_and_close(chunks))  # noqa: B023
        for version, where in ((None, self.missing()), ("another", location)):
            self.leaks_nothing(
                "open() that is refused",
                lambda: self.tried("open()", lambda: self._opened(where, version=version)),  # noqa: B023
            )

    # Threads, forks and secrets.

    def test_ten_threads(self) -> None:
        places = [self._put_some(salt) for salt in (b"one", b"two", b"three")]

        def read(number: int) -> None:
            for turn in range(6):
                data, location = places[(number + turn) % len(places)]
                self._reads(location, data)

        self.in_threads(read)

    def test_after_a_fork(self) -> None:
        data, location = self._put_some()
        self.in_child(lambda: self._reads(location, data))
