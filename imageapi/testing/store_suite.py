# SPDX-License-Identifier: Apache-2.0
"""Test cases for every store, for the tests of a plugin (see `imageapi.testing.suite`).

A subclass of `StoreSuite` defines `make_store`, `put` and `make_unreachable`, and if
possible `replace`, `remove`, `put_at`, `forbidden` and `damage`; see `StoreHooks`.
"""

import itertools
from functools import partial
from urllib.parse import unquote

from imageapi.errors import BackendError, DataChanged, DataNotFound
from imageapi.image import Location
from imageapi.testing.store_fault_cases import ABSENT, StoreFaultCases
from imageapi.testing.store_hooks import pattern

_SECRET = "suite-secret"  # noqa: S105 - made up  # nosec B105
# Places of credentials in a location; nothing listens at these addresses.
_WITH_SECRET = (
    f"//user:{_SECRET}@127.0.0.1:9/x",
    f"//127.0.0.1:9/x?token={_SECRET}",
    f"///x?token={_SECRET}",
    f"///x#{_SECRET}",
)
# Invalid rests of a URL, to be put after each scheme of the store.
_NONSENSE = (
    *("", "///" + "x" * 5000),
    *"// /// //[ %00 ///%00 ///\0 ///\ud800 ///../../../etc/passwd".split(),
)
_ODD_IDS = (
    *"suite %73uite SUITE . .. %2F a?b a#b \N{SNOWMAN}".split(),
    *("a b", "x" * 255),
)


class StoreSuite(StoreFaultCases, mixin=True):
    """The cases of a store."""

    # Reading.

    def test_reads_the_whole(self) -> None:
        for size in (1, self.chunk_size, 2 * self.chunk_size, 3 * self.chunk_size + 1):
            data = pattern(size)
            self.reads(self.put(data), data)

    def test_reads_empty_data(self) -> None:
        location = self.put(b"")
        self.reads(location, b"", when="for empty data is data")
        blob = self.closed_after(location, 0)
        self.must(blob.total_size in (0, None), "total_size of empty data must be 0, or None")

    def test_reads_first_and_last_byte(self) -> None:
        data, location = self.put_some()
        self.reads(location, data, 0, 1)
        self.reads(location, data, len(data) - 1, len(data))
        self.reads(location, data, len(data) - 1, None)

    def test_reads_the_same_in_chunks_of_a_preferred_size(self) -> None:
        data, location = self.put_some()
        for size in (1, 2 * self.chunk_size, 9 * self.chunk_size):
            blob = self.open(location)
            first = self.next_of(blob) or b""
            blob.preferred_chunk_size = size
            what = f"reading on with preferred_chunk_size = {size}"
            self.same(data, first + self.read(blob, len(data), what), what)

    def test_reads_ranges_at_borders_of_chunks(self) -> None:
        data, location = self.put_some()
        borders = {n * self.chunk_size + more for n in range(4) for more in (-1, 0, 1)} - {-1}
        for start, stop in itertools.combinations(sorted(borders), 2):
            self.reads(location, data, start, stop)

    def test_stop_past_the_end(self) -> None:
        data, location = self.put_some()
        for stop in (len(data) + 1, 2 * len(data), 2**64):
            self.reads(location, data, 1, stop)

    def test_start_at_the_end_or_past_it(self) -> None:
        data, location = self.put_some()
        size = len(data)
        spans = [(1, 1), (size, None), (size + 1, None), (2**40, 2**41)]
        spans += [(2**63 - 1, None), (2**64, None)]
        for start, stop in spans:
            act = partial(self.opened, location, start, stop)
            blob = self.tried(f"open(start={start}, stop={stop}, version=None)", act)
            if not isinstance(blob, BackendError):
                got = self.next_or_error(blob, f"with start={start}, stop={stop}")
                blob.close()
                what = (
                    f"open(start={start}, stop={stop}) of {size} bytes must give no data, or raise"
                )
                self.must(not isinstance(got, bytes), what)

    def test_total_size_is_of_the_whole(self) -> None:
        data, location = self.put_some()
        spans: list[tuple[int, int | None]] = [(0, None)]
        if self.store.ranges:
            spans += [(0, 1), (1, None), (1, 2)]
        for start, stop in spans:
            blob = self.open(location, start, stop)
            blob.close()
            what = f"total_size with start={start}, stop={stop} must be that of the whole, or None"
            self.must(blob.total_size in (len(data), None), f"{what}, not {blob.total_size}")

    def test_is_its_own_iterator(self) -> None:
        blob = self.open(self.put(pattern(10)))
        self.must(iter(blob) is blob, "a Blob is its own iterator: do not override __iter__")
        blob.close()

    def test_stays_at_its_end(self) -> None:
        blob = self.open(self.put(pattern(10)))
        while self.next_of(blob) is not None:
            pass
        again = self.next_or_error(blob, "after the end")
        blob.close()
        self.must(not isinstance(again, bytes), "a Blob must return no more data after its end")

    def test_blobs_are_independent(self) -> None:
        both = [self.put_some(), self.put_some(b"other")]
        blobs = [self.open(location) for _, location in both]
        begun = [self.next_of(blob) or b"" for blob in blobs]
        for name, (data, _), blob, got in zip(("first", "second"), both, blobs, begun, strict=True):
            what = f"the {name} of two Blobs read by turns"
            self.same(data, got + self.read(blob, len(data), what), what)

    # Versions, and data that is replaced or removed.

    def test_version_opens_again(self) -> None:
        data, location = self.put_some()
        blob = self.open(location)
        blob.close()
        self.needs_versions([blob.version])
        self.must(isinstance(blob.version, str), "version must be a str, or None")
        for start in (0, 1) if self.store.ranges else (0,):
            again = self.open(location, start, None, blob.version)
            why = "the same bytes must have the same version at each open()"
            self.must(blob.version == again.version, why)
            what = f"open(start={start}) with the right version"
            self.same(data[start:], self.read(again, len(data), what), what)

    def test_wrong_version(self) -> None:
        _, location = self.put_some()
        for start in (0, 1) if self.store.ranges else (0,):
            why = f"at byte {start} with another version"
            self.refuses(why, location, DataChanged, start=start, version="another")

    def test_replaced_data(self) -> None:
        data, location = self.put_some()
        blob = self.open(location)
        self.same(data, self.read(blob, len(data), "open()"), "open()")
        self.replace(location, data[::-1])
        self.reads(location, data[::-1], when="that were put in place of others")
        if blob.version is not None:
            why = "by its version, once replaced,"
            self.refuses(why, location, DataChanged, version=blob.version)

    def test_replaced_while_it_is_read(self) -> None:
        data, location = self.put_some()
        blob = self.open(location)
        got = self.next_of(blob) or b""
        self.replace(location, data[::-1])
        try:
            # Not a for loop: a store that returns empty chunks at the end would loop forever.
            while (chunk := next(blob, None)) is not None:
                self.is_chunk(chunk)
                got += chunk
        except BackendError:
            return
        finally:
            blob.close()
        what = "a Blob whose data is replaced while it is read must raise DataChanged, or"
        self.same(data, got, what)

    def test_removed_data(self) -> None:
        data, location = self.put_some()
        self.reads(location, data)
        self.remove(location)
        self.refuses("of removed data", location, DataNotFound)

    # Locations.

    def test_missing_data(self) -> None:
        self.refuses("of a location without data", self.missing(), DataNotFound)
        longer = Location(self.put(b"data").url + "x")
        self.refuses("of a URL to which an x was added", longer, *ABSENT)

    def test_schemes(self) -> None:
        location = self.put(b"data")
        self.must(isinstance(self.store.schemes, frozenset), "schemes must be a frozenset")
        for scheme in self.store.schemes:
            self.must(scheme.lower() == scheme, "schemes must be in lower case")
        self.must(location.scheme in self.store.schemes, "schemes must include that of put()'s URL")
        rest = location.url.partition(":")[2]
        capitals = Location(f"{location.scheme.upper()}:{rest}")
        self.reads(capitals, b"data", when="with its scheme in capitals")

    def test_foreign_scheme(self) -> None:
        rest = self.put(b"data").url.partition(":")[2]
        for url in ("", rest, f"foreign:{rest}"):
            self.refuses("with a foreign scheme", Location(url), *ABSENT)

    def test_nonsense_locations(self) -> None:
        for scheme, nonsense in itertools.product(sorted(self.store.schemes), _NONSENSE):
            url = f"{scheme}:{nonsense}"
            self.refuses(f"of {url!a:.60}", Location(url), *ABSENT)
        url = self.put(b"data").url
        for nonsense in ("%00", "\0", "%FF", "\ud800"):
            for wrong in (url + nonsense, url[:-1] + nonsense + url[-1]):
                message = f"of put()'s URL with {nonsense!a} in it"
                self.refuses(message, Location(wrong), *ABSENT)

    def test_locate(self) -> None:
        located: dict[str, str] = {}
        for image_id in _ODD_IDS:
            what = f"locate({image_id!r:.20})"
            location = self.tried(what, partial(self.store.locate, image_id))
            if not isinstance(location, BackendError):
                self.must(
                    location.scheme in self.store.schemes, f"{what}: its scheme is not in schemes"
                )
                # Also if one id is the percent-encoded form of the other.
                other = located.setdefault(unquote(location.url), image_id)
                message = f"{image_id!r:.20} and {other!r:.20} must not have the same location"
                self.must(image_id == other, f"{message}: percent-encode ids")
                self.refuses(f"where {what} says", location, *ABSENT)

    def test_upstream_out_of_reach(self) -> None:
        made = self.unreachable_and_location()
        if made is not None:
            store, location = made
            self.out_of_reach("open()", lambda: store.open(location, caller=self.caller))

    # Closing.

    def test_closes_at_any_time(self) -> None:
        data, location = self.put_some()
        for chunks in range(6):
            blob = self.begun(location, chunks)
            self.works(f"a Blob's close() after {chunks} chunks", blob.close)
            self.works("a Blob's second close()", blob.close)
            self.reads(location, data, when=f"after another Blob was closed after {chunks} chunks")

    def test_no_data_after_close(self) -> None:
        _, location = self.put_some()
        for chunks in (0, 1):
            blob = self.begun(location, chunks)
            blob.close()
            # The other Blob may get the descriptor that the closed one had.
            other = self.open(location)
            chunk = self.next_or_error(blob, "after close()")
            other.close()
            self.must(not isinstance(chunk, bytes), "a closed Blob must return no more data")

    def test_leaves_no_descriptors_open(self) -> None:
        _, location = self.put_some()
        nowhere = self.missing()
        self.leaks_nothing("open() and close()", lambda: self.closed_after(location, 0))
        self.leaks_nothing("close() in the middle", lambda: self.closed_after(location, 1))
        self.leaks_nothing("close() after the end", lambda: self.closed_after(location, 6))
        self.leaks_nothing("open() of missing data", lambda: self.error_of(nowhere))
        self.leaks_nothing("open() with a version", lambda: self.error_of(location, "another"))
        self.leaks_nothing("check()", self.store.check)

    # Threads, forks and secrets.

    def test_ten_threads(self) -> None:
        places = [self.put_some(salt) for salt in (b"one", b"two", b"three")]

        def read(number: int) -> None:
            for turn in range(6):
                data, location = places[(number + turn) % len(places)]
                self.reads(location, data)

        self.in_threads(read)

    def test_after_a_fork(self) -> None:
        data, location = self.put_some()
        self.in_child(lambda: self.reads(location, data))

    def test_shows_no_secret(self) -> None:
        _, location = self.put_some()
        blob = self.open(location)
        blob.close()
        shown: dict[str, object] = {"the store": self.store, "a Blob": blob}
        shown["the error of missing data"] = self.error_of(self.missing())
        shown["the error of another version"] = self.error_of(location, "another")
        self.keeps_secrets(shown)
        for scheme, nonsense in itertools.product(self.store.schemes, _WITH_SECRET):
            refusal = self.error_of(Location(f"{scheme}:{nonsense}"))
            self.keeps_secrets({"the error of a location": refusal}, _SECRET)
