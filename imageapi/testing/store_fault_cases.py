# SPDX-License-Identifier: Apache-2.0
"""The cases of `imageapi.testing.store_suite` that provoke faults, changes and threads."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import BinaryIO

from imageapi.backends.base import Blob
from imageapi.errors import BackendError, DataNotFound, LocationRefused
from imageapi.image import Location
from imageapi.testing.concurrency import Act
from imageapi.testing.store_hooks import StoreHooks, pattern

ABSENT = (DataNotFound, LocationRefused)
# A careless store takes some of them for the same.
_ALIKE_IDS = (
    *"suite SUITE suite. .suite suite.img s%75ite suite+x".split(),
    *("suite x", "suite ", " suite"),
    *("\N{LATIN SMALL LETTER E WITH ACUTE}", "e\N{COMBINING ACUTE ACCENT}"),
)
_UP = 12
# Ways to write the path of a file that exists on every machine.
_OUTSIDE = tuple(
    step * _UP + f"etc{slash}passwd"
    for step, slash in (("../", "/"), ("..%2F", "%2F"), ("%2e%2e/", "/"), ("%2E%2E%2F", "%2F"))
)
_SEGMENT = re.compile(r"[^/:!?#]+")
# More descriptors than a Blob has.
_OTHERS = 16
# A second begins at most once while data is replaced so often.
_REPLACEMENTS = 4


class StoreFaultCases(StoreHooks, mixin=True):
    """The methods that the author defines are those of `StoreHooks`."""

    def test_similar_ids_share_no_data(self) -> None:
        placed: list[tuple[str, Location, bytes]] = []
        for number, image_id in enumerate(_ALIKE_IDS):
            location = self.tried(f"locate({image_id!a})", partial(self.store.locate, image_id))
            if isinstance(location, BackendError):
                continue
            which = f"where locate({image_id!a}) says, when only similar ids have data,"
            mend = "(compare names exactly)"
            self.refuses(f"{which} {mend}", location, DataNotFound)
            data = pattern(100 + number)
            self.put_at(location, data)
            placed.append((image_id, location, data))
        for image_id, location, data in placed:
            what = (
                f"open() where locate({image_id!a}) says, after data of similar ids was put,"
                " (compare names exactly: letter case, dots, blanks and the form of Unicode count)"
            )
            self.same(data, self.read(self.open(location), len(data) + 100, what), what)

    # Locations that must not be opened.

    def test_paths_that_lead_outside(self) -> None:
        for url in _leading_outside(self.put(b"data").url):
            what = "of a path that leads outside, made of put()'s URL (check it when it is decoded)"
            self.refuses(f"{what}, {url[-60:]!a},", Location(url), *ABSENT)

    def test_forbidden_locations(self) -> None:
        forbidden = self.forbidden()
        if forbidden is None:
            return
        locations = list(forbidden)
        self.must(bool(locations), "forbidden() must return at least one Location, or None")
        for number, location in enumerate(locations):
            what = f"of forbidden()[{number}] (check it when it is decoded and links are resolved)"
            self.refuses(what, location, *ABSENT)

    # Data that is damaged or replaced.

    def test_damaged_data(self) -> None:
        data, location = self.put_some()
        self.reads(location, data)
        self.damage(location)
        got = self.tried("open() of damaged data", partial(self.opened, location))
        if isinstance(got, BackendError):
            self.keeps_secrets({"the error of damaged data": got})
            return
        try:
            read, error = self.read_to_an_end(got, len(data), "of damaged data")
        finally:
            self.works("close() after reading damaged data", got.close)
        is_cut = error is None and got.total_size is not None and len(read) < got.total_size
        self.must(
            not is_cut,
            f"damaged data ended at byte {len(read)} of total_size {got.total_size} without an"
            " error: raise BackendUnavailable or BadReply, or a client gets a part as the whole",
        )
        what = "damage(location) must change the data: the store still returns the right bytes"
        self.must(read != data, what)

    def test_versions_of_replaced_data(self) -> None:
        location = self.put(pattern(100))
        versions = [self.version_of(location)]
        for number in range(_REPLACEMENTS):
            self.replace(location, pattern(100, bytes([number])))
            versions.append(self.version_of(location))
        self.needs_versions(versions)
        self.must(
            len(set(versions)) == len(versions),
            "other bytes must have another version, also if they have the same size and replace"
            " others within a second: take an ETag, a generation, or a time in nanoseconds with"
            " the inode's number",
        )

    def version_of(self, location: Location) -> str | None:
        blob = self.open(location)
        blob.close()
        return blob.version

    # Threads, and closing.

    def test_two_threads_read_at_once(self) -> None:
        (data, location), *others = (self.put_some(salt) for salt in (b"one", b"other"))
        for other_data, other in [(data, location), *others]:
            both = partial(self.reads, location, data), partial(self.reads, other, other_data)
            mend = (
                "two Blobs must share nothing that changes, such as the position of a descriptor"
                " (use os.pread, or open once for each Blob)"
            )
            self.interleaved(_always(both), mend)

    def test_second_close_closes_nothing_else(self) -> None:
        _, location = self.put_some()
        for chunks in (0, 1, 6):
            blob = self.begun(location, chunks)
            self.works("close()", blob.close)
            with ExitStack() as stack:
                # They get the numbers of the descriptors that the first close() has closed.
                others = [stack.enter_context(open(os.devnull, "rb")) for _ in range(_OTHERS)]
                self.works("a Blob's second close()", blob.close)
                closed = [other for other in others if _is_closed(other)]
                for _ in closed:
                    # Each gets the lowest free number, so that the files can be closed.
                    os.open(os.devnull, os.O_RDONLY)
            self.must(
                not closed,
                "a second close() must not close a descriptor again: another file may have got"
                " its number, so forget the number at the first close()",
            )

    def test_close_in_another_thread(self) -> None:
        _, location = self.put_some()
        for chunks in (0, 1, 6):
            blob = self.begun(location, chunks)
            what = f"close() in another thread, after {chunks} chunks,"
            self.in_thread(partial(self.works, what, blob.close))

    def test_close_while_another_thread_reads(self) -> None:
        data, location = self.put_some()

        def prepare() -> tuple[Act, Act]:
            blob = self.open(location)
            close = partial(self.works, "close() while __next__() runs in a thread", blob.close)
            return partial(self.read_while_closed, blob, data), close

        mend = "close() may come while another thread is in __next__(): use a lock"
        self.interleaved(prepare, mend)

    def read_while_closed(self, blob: Blob, data: bytes) -> None:
        """Read a Blob that another thread closes; fail if it returns wrong bytes."""
        got, _ = self.read_to_an_end(blob, len(data), "while another thread calls close()")
        self.must(data.startswith(got), "__next__() returned wrong bytes when close() was called")
        self.works("close()", blob.close)

    def read_to_an_end(
        self, blob: Blob, at_most: int, when: str
    ) -> tuple[bytes, BackendError | None]:
        """Read a Blob to its end, or to an error that a backend may raise; return both."""
        got = b""
        while len(got) <= at_most:
            chunk = self.next_or_error(blob, when)
            if chunk is None or isinstance(chunk, BackendError):
                return got, chunk
            self.is_chunk(chunk)
            got += bytes(chunk)  # type: ignore[call-overload]  # is_chunk() has checked it
        return got, None

    def test_close_of_the_store_leaves_nothing_open(self) -> None:
        data, location = self.put_some()
        nowhere = self.missing()

        def use() -> None:
            self.reads(location, data)
            self.closed_after(location, 1)
            self.error_of(nowhere)

        self.closes_all(use)


def _is_closed(file: BinaryIO) -> bool:
    """Whether something else has closed the descriptor of an open file."""
    try:
        os.fstat(file.fileno())
    except OSError:
        return True
    return False


def _always(
    both: tuple[Act, Act],
) -> Callable[[], tuple[Act, Act]]:
    return lambda: both


def _leading_outside(url: str) -> Iterator[str]:
    """Put a path that leads outside in place of each segment of a URL but the scheme."""
    for segment in list(_SEGMENT.finditer(url))[1:]:
        for outside in _OUTSIDE:
            yield url[: segment.start()] + outside + url[segment.end() :]
