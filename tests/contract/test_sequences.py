# SPDX-License-Identifier: Apache-2.0
"""docs/wire.md: no sequence of requests gives a client a complete image with wrong bytes.

hypothesis makes a client that keeps the bytes it has and asks several processes for the rest.
It asks in any order. It reads several answers at the same time, or closes them early.
"""

import hashlib
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import webob
from hypothesis import given
from hypothesis import strategies as st

from imageapi.backends.base import StoreBackend
from imageapi.backends.file import folder
from imageapi.errors import BackendError, RangeNotSupported
from imageapi.image import Location
from imageapi.testing.fakes import FailingStore
from tests.deployment import Deployment, close
from tests.memory import Memory

CHUNK = 4
SIZE = 18
RIGHT = bytes(range(100, 100 + SIZE))
MD5 = hashlib.md5(RIGHT).hexdigest()
SHA512 = hashlib.sha512(RIGHT).hexdigest()

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
# Ranges that begin at the first byte. The whole image may be the answer to such a range.
_FROM_FIRST_BYTE = re.compile(f"bytes=(0-.*|-{SIZE})")
_ids = map(str, itertools.count())


class Copy(NamedTuple):
    """The data at one location, and the properties of its server.

    :ivar store: ``memory`` or ``file``.
    :ivar has_ranges: whether it answers a range with the part.
    :ivar sizes_of: which answers tell the size of the whole data.
    """

    data: bytes
    store: str
    has_version: bool
    is_settled: bool
    has_ranges: bool
    sizes_of: str

    def open(self, opens: Callable[..., Any], location: Location, **asked: Any) -> Any:
        is_part = bool(asked.get("start")) or asked.get("stop") is not None
        if is_part and not self.has_ranges:
            raise RangeNotSupported("whole data only")
        blob = opens(location, **asked)
        if not self.has_version:
            blob.version = None
        if ("part" if is_part else "whole") not in self.sizes_of:
            blob.total_size = None
        blob.is_settled = self.is_settled
        return blob


class Record(NamedTuple):
    """An image: what its record says, and its copies in their order."""

    copies: tuple[Copy, ...]
    is_sized: bool = True
    has_os_hash: bool = False


class Ask(NamedTuple):
    """A request.

    :ivar worker: the number of the process.
    :ivar range: the whole, the rest after the bytes that the client has, a part, or the last bytes.
    :ivar reads: how many chunks are read now; the others are read later.
    """

    worker: int
    range: str
    first: int
    last: int
    reads: int


class Workers:
    """Processes with the same records and data."""

    def __init__(self, folder: Path, verify: str) -> None:
        core: dict[str, Any] = {"verify_checksum": verify, "chunk_size": CHUNK}
        self.each = [Memory(folder, resume_attempts=0, **core) for _ in range(2)]
        self._deployment = Deployment(folder / "deployment")
        self._deployment.configure(f"chunk_size = {CHUNK}")
        self._files = [self._deployment.api() for _ in self.each]

    def put(self, record: Record) -> str:
        """Add an image; returns its id."""
        image_id = next(_ids)
        hashes: dict[str, Any] = {"checksum": MD5}
        if record.has_os_hash:
            hashes = {"checksum": None, "os_hash_algo": "sha512", "os_hash_value": SHA512}
        names = [f"{image_id}-{number}" for number in range(len(record.copies))]
        for name, copy in zip(names, record.copies, strict=True):
            self._deployment.data_path(name).write_bytes(copy.data)
            for memory in self.each:
                memory.store.put(name, copy.data)
        for memory in self.each:
            locations = tuple(memory.store.locate(name) for name in names)
            size = SIZE if record.is_sized else None
            memory.put(None, id=image_id, size=size, locations=locations, **hashes)
        return image_id

    def stores(self) -> Iterator[tuple[FailingStore, Mapping[str, Any]]]:
        """The store of each process, and its functions that open data in memory and in a file."""
        for memory, files in zip(self.each, self._files, strict=True):
            store = files.backends.stores[0].backend
            yield memory.store, {"memory": memory.store.open, "file": partial(_open_file, store)}

    def close(self) -> None:
        for api in (*self._files, *(memory.api for memory in self.each)):
            api.close()


def _open_file(store: StoreBackend, location: Location, **asked: Any) -> Any:
    return store.open(store.locate(location.url.partition(":")[2]), **asked)


class OpenAnswer:
    """An answer that is being read into a client's file."""

    def __init__(self, response: webob.Response, file: dict[int, int], *, is_whole: bool) -> None:
        self.response = response
        self.is_whole = is_whole
        self._file = file
        self._chunks = iter(response.app_iter)
        part = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        assert (part is not None) is (response.status_code == 206)
        self._position = int(part[1]) if part else 0
        #: How long the client now believes the file to be.
        self.size: int | None = int(part[3]) if part else response.content_length
        self.is_broken = False
        self.has_ended = False

    def read(self, chunks: int | None = None) -> None:
        """Read some chunks, or all. Bytes that the client already has are kept."""
        try:
            for chunk in itertools.islice(self._chunks, chunks):
                for byte in chunk:
                    self._file.setdefault(self._position, byte)
                    self._position += 1
            self.has_ended |= chunks is None and not self.is_broken
            if chunks is None and self.size is None and not self.is_broken:
                # The last chunk of the framing is the end of the file.
                self.size = self._position
        except BackendError:
            self.is_broken = True


class Client:
    """Makes a file from the answers that it gets."""

    def __init__(self, workers: Workers, image_id: str, *, is_patient: bool) -> None:
        """:param is_patient: it starts a new file for each answer that begins at the first byte."""
        self._workers = workers
        self._path = f"/v1/images/{image_id}"
        self._is_patient = is_patient
        self._file: dict[int, int] = {}
        self._last: OpenAnswer | int | None = None
        self._answers: list[OpenAnswer] = []
        #: The files that it took for the complete image, at any time.
        self.complete_files: set[bytes] = set()
        self.is_broken = False
        self.statuses: set[int] = set()

    def ask(self, ask: Ask) -> None:
        """Ask, and read a part of the answer."""
        headers = self._headers(ask)
        is_whole = not headers or (
            self._is_patient and _FROM_FIRST_BYTE.fullmatch(headers["Range"]) is not None
        )
        if is_whole:
            # It starts a new file.
            self.finish()
            self._file, self._last = {}, None
        elif self._is_patient:
            self._leave_wholes()
        response = self._workers.each[ask.worker].request(self._path, **headers)
        self.statuses.add(response.status_code)
        if response.status_code in (200, 206):
            answer = OpenAnswer(response, self._file, is_whole=is_whole)
            self._answers.append(answer)
            self._last = answer
            answer.read(ask.reads)
        elif response.status_code == 416 and ask.range == "rest":
            # A client concludes from 416 that it has all bytes.
            self._last = self._held()
        self._look()

    def read(self, number: int, chunks: int) -> None:
        if self._answers:
            self._answers[number % len(self._answers)].read(chunks)
            self._look()

    def leave(self, number: int) -> None:
        """Close an answer before its end."""
        if self._answers:
            left = self._answers.pop(number % len(self._answers))
            close(left.response)

    def finish(self) -> None:
        """Read all answers to their ends."""
        answers, self._answers = self._answers, []
        for answer in answers:
            answer.read()
            close(answer.response)
            self._look()
            self.is_broken |= answer.is_broken

    def _leave_wholes(self) -> None:
        for answer in [one for one in self._answers if one.is_whole]:
            self.leave(self._answers.index(answer))

    def _look(self) -> None:
        """The client takes its file for complete when it has the size that it was told last."""
        last = self._last
        if isinstance(last, OpenAnswer) and last.response.status_code == 200 and not last.has_ended:
            return
        size = last.size if isinstance(last, OpenAnswer) else last
        if size and size <= self._held():
            self.complete_files.add(bytes(self._file[position] for position in range(size)))

    def has_wrong_bytes(self) -> bool:
        return any(RIGHT[position] != byte for position, byte in self._file.items())

    def _held(self) -> int:
        return next(position for position in itertools.count() if position not in self._file)

    def _headers(self, ask: Ask) -> dict[str, Any]:
        ranges = {
            "rest": f"bytes={self._held()}-",
            "part": f"bytes={ask.first}-{ask.last}",
            "end": f"bytes={ask.first}-",
            "last": f"bytes=-{ask.last}",
        }
        if ask.range == "whole" or (ask.range == "rest" and not self._file):
            return {}
        return {"Range": ranges[ask.range]}


asks = st.builds(
    Ask,
    st.integers(0, 1),
    st.sampled_from(["whole", "rest", "rest", "part", "end", "last"]),
    st.integers(0, SIZE),
    st.integers(0, SIZE),
    st.integers(0, 6),
)
reads = st.tuples(st.integers(0, 5), st.integers(1, 3))
sequences = st.lists(st.one_of(asks, asks, reads, st.integers(0, 5)), max_size=8)


def _flipped(position: int) -> bytes:
    return RIGHT[:position] + bytes([RIGHT[position] ^ 1]) + RIGHT[position + 1 :]


wrong_data = st.one_of(
    st.integers(0, SIZE - 1).map(_flipped),
    st.integers(0, SIZE - 1).map(lambda size: RIGHT[:size]),
    st.binary(min_size=1, max_size=5).map(lambda more: RIGHT + more),
    st.integers(0, 2 * SIZE).map(lambda size: bytes(size)),
)


def copies(data: st.SearchStrategy[bytes]) -> st.SearchStrategy[Copy]:
    sizes = st.sampled_from(["whole and part", "whole", "part", ""])
    stores = st.sampled_from(["memory", "file"])
    return st.builds(Copy, data, stores, st.booleans(), st.booleans(), st.booleans(), sizes)


right_copies = copies(st.just(RIGHT))
wrong_copies = copies(wrong_data)


def records(*which: st.SearchStrategy[Copy]) -> st.SearchStrategy[Record]:
    return st.builds(Record, st.tuples(*which), st.booleans(), st.booleans())


@pytest.fixture(scope="module", params=["once", "always"])
def workers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Workers]:
    workers = Workers(tmp_path_factory.mktemp("sequences"), request.param)
    yield workers
    workers.close()


def played(
    workers: Workers, record: Record, sequence: Sequence[Any], *, is_patient: bool = False
) -> Client:
    """Let a client carry out a sequence."""
    client = Client(workers, workers.put(record), is_patient=is_patient)
    with pytest.MonkeyPatch.context() as patch:
        # A file has a version at once.
        patch.setattr(folder, "SETTLED_NS", -1)
        for store, opens in workers.stores():
            patch.setattr(store, "open", partial(_open_copy, record, opens))
        for step in sequence:
            if isinstance(step, Ask):
                client.ask(step)
            elif isinstance(step, tuple):
                client.read(*step)
            else:
                client.leave(step)
        client.finish()
    return client


def _open_copy(record: Record, opens: Mapping[str, Any], location: Location, **asked: Any) -> Any:
    copy = record.copies[int(location.url.rpartition("-")[2])]
    return copy.open(opens[copy.store], location, **asked)


@pytest.mark.wire("data-parts")
@given(record=records(wrong_copies), sequence=sequences)
def test_wrong_data_is_never_complete(
    workers: Workers, record: Record, sequence: Sequence[Any]
) -> None:
    assert played(workers, record, sequence).complete_files <= {RIGHT}


@pytest.mark.wire("data-locations")
@given(
    record=st.one_of(records(wrong_copies, right_copies), records(wrong_copies, wrong_copies)),
    sequence=sequences,
)
def test_first_of_two_copies_is_wrong(
    workers: Workers, record: Record, sequence: Sequence[Any]
) -> None:
    client = played(workers, record, sequence, is_patient=True)
    assert client.complete_files <= {RIGHT}


@pytest.mark.wire("data-parts")
@given(
    record=st.one_of(
        records(right_copies),
        records(right_copies, right_copies),
        records(right_copies, wrong_copies),
    ),
    sequence=sequences,
)
def test_right_data_is_always_right(
    workers: Workers, record: Record, sequence: Sequence[Any]
) -> None:
    client = played(workers, record, sequence)
    assert client.statuses <= {200, 206, 416}
    assert not client.is_broken
    assert not client.has_wrong_bytes()
    assert client.complete_files <= {RIGHT}


def copy(data: bytes, sizes_of: str = "whole and part", *, has_ranges: bool = True) -> Copy:
    return Copy(data, "memory", True, True, has_ranges, sizes_of)


WRONG = _flipped(5)
WHOLE, REST = Ask(0, "whole", 0, 0, 3), Ask(0, "rest", 0, 0, 9)
REST_OF_ANOTHER = REST._replace(worker=1)
LEFT = 0  # The client leaves the first answer that is open.


@pytest.mark.wire("data-locations")
@pytest.mark.parametrize(
    "first",
    [
        copy(WRONG),
        copy(WRONG, has_ranges=False),
        copy(WRONG + b"more", "part"),
        copy(WRONG[:14], "part"),
        copy(WRONG + b"more", ""),
        copy(WRONG[:14], ""),
    ],
)
@pytest.mark.parametrize("second", [copy(RIGHT), copy(RIGHT, has_ranges=False)])
@pytest.mark.parametrize("rest", [REST, REST_OF_ANOTHER])
def test_rest_is_from_no_location_after_wrong_data(
    workers: Workers, first: Copy, second: Copy, rest: Ask
) -> None:
    """Also if the answer to the range is the whole image: wget skips the bytes that it has."""
    record = Record((first, second), True, False)
    sequence = [WHOLE._replace(reads=9), rest, rest]
    assert not played(workers, record, sequence).complete_files


@pytest.mark.wire("conditions-range")
@pytest.mark.parametrize("rest", [REST, REST_OF_ANOTHER])
def test_wrong_data_does_not_say_that_the_client_has_all(workers: Workers, rest: Ask) -> None:
    """The first copy ends within the first chunk. The client has bytes of the second copy."""
    record = Record((copy(b"abc"), copy(RIGHT)), False, False)
    client = played(workers, record, [WHOLE, LEFT, rest])
    assert client.statuses == {200, 500}


@pytest.mark.wire("conditions-range")
def test_right_data_of_unknown_size_says_that_the_client_has_all(workers: Workers) -> None:
    record = Record((copy(RIGHT),), False, False)
    for sequence in ([WHOLE._replace(reads=9), REST], [Ask(1, "end", SIZE, 0, 0)]):
        assert 416 in played(workers, record, sequence).statuses


@pytest.mark.wire("data-parts")
def test_size_that_only_the_whole_tells(workers: Workers) -> None:
    """The last part is verified, and its Content-Range tells the size."""
    asks = [Ask(0, "part", 0, 9, 9), Ask(0, "end", 10, 0, 9)]
    assert not played(workers, Record((copy(WRONG, "whole"),), False, False), asks).complete_files
    right = Record((copy(RIGHT, "whole"),), False, False)
    assert played(workers, right, asks).complete_files == {RIGHT}


@pytest.mark.wire("data-locations")
def test_part_of_data_whose_size_only_the_whole_tells(workers: Workers) -> None:
    record = Record((copy(WRONG[:14], "whole"), copy(RIGHT)), True, False)
    sequence = [Ask(0, "part", 0, 9, 9), REST]
    assert not played(workers, record, sequence).complete_files


@pytest.mark.wire("data-locations")
def test_rest_is_from_the_next_location_where_all_answers_are(workers: Workers) -> None:
    """A copy with a wrong size is refused before it gives a byte to a client."""
    record = Record((copy(RIGHT[:14]), copy(RIGHT)), True, False)
    assert played(workers, record, [WHOLE, LEFT, REST]).complete_files == {RIGHT}
