# SPDX-License-Identifier: Apache-2.0
import hashlib
import logging
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from imageapi.backends.base import Blob
from imageapi.cache.blobs import KeptBlob
from imageapi.cache.folder import CacheFolder
from imageapi.download.checksum import Checksum
from imageapi.download.verified_stream import Body
from imageapi.errors import (
    BackendError,
    BackendUnavailable,
    BadReply,
    DataChanged,
    DataForbidden,
    DataMismatch,
    DataNotFound,
    LocationRefused,
    RangeNotSupported,
    WrongHash,
)
from tests.unit.cache.filling import keep, name_for


class Chunks(Blob):
    """Gives what it was told to, and raises what is an exception."""

    total_size = None

    def __init__(self, *gives: Any, version: str | None = "1") -> None:
        self.version = version
        self.gives = list(gives)
        self.closed = 0
        self.ended = False

    def __next__(self) -> Any:
        if not self.gives:
            assert not self.ended
            self.ended = True
            raise StopIteration
        given = self.gives.pop(0)
        if isinstance(given, Exception):
            raise given
        return given

    def close(self) -> None:
        self.closed += 1


def no_more(received: int, version: str | None) -> Blob:
    raise AssertionError(f"opened again at {received}")


def body_of(
    blob: Blob,
    stop: int | None = None,
    *,
    start: int = 0,
    checksum: Checksum | None = None,
    on_compared: Callable[[bool], None] = lambda is_right: None,
    reopen: Callable[[int, str | None], Blob] = no_more,
    resume_attempts: int = 0,
) -> Body:
    return Body(
        blob,
        image_id="i",
        location="the store",
        start=start,
        stop=stop,
        checksum=checksum,
        on_compared=on_compared,
        reopen=reopen,
        resume_attempts=resume_attempts,
    )


def md5(data: bytes) -> Checksum:
    return Checksum("md5", hashlib.md5(data).hexdigest())


@pytest.mark.parametrize("length", [3, None])
@pytest.mark.parametrize("primed", [True, False])
def test_no_empty_chunk_is_sent(length: int | None, primed: bool) -> None:
    """To chunked framing it would be the end."""
    blob = Chunks(b"", b"a", b"", b"", b"bc", b"")
    body = body_of(blob, length)
    if primed:
        assert body.prime()
    assert list(body) == [b"a", b"bc"]
    assert blob.closed == 1


@pytest.mark.parametrize("gives", [(), (b"",), (b"a",)])
def test_the_end_is_asked_for_once(gives: tuple[bytes, ...]) -> None:
    blob = Chunks(*gives)
    assert b"".join(body_of(blob)) == b"".join(gives)
    assert blob.ended


def test_it_is_closed_once() -> None:
    blob = Chunks(b"a", b"b")
    body = body_of(blob, 2)
    next(body)
    body.close()
    body.close()
    assert blob.closed == 1
    with pytest.raises(BackendError, match=r"^the data was closed before its end$"):
        next(body)


@pytest.mark.parametrize(("chunk", "kind"), [("a", "str"), (bytearray(b"a"), "bytearray")])
def test_a_chunk_is_bytes(chunk: object, kind: str) -> None:
    with pytest.raises(BackendError, match=f"^a chunk must be bytes, not {kind}$"):
        next(body_of(Chunks(chunk), 1, resume_attempts=3))


def test_an_end_that_comes_early_is_told() -> None:
    body = body_of(Chunks(b"a"), 2)
    assert next(body) == b"a"
    for _ in range(2):
        with pytest.raises(BackendError, match=r"^the data ended at byte 1 of 2$"):
            next(body)


@pytest.mark.parametrize("gives", [(b"ab",), (b"a", b"b")])
def test_too_much_is_told(gives: tuple[bytes, ...]) -> None:
    message = r"^the data continues past byte 1, where it must end$"
    with pytest.raises(DataMismatch, match=message):
        next(body_of(Chunks(*gives), 1))


@pytest.mark.parametrize("length", [2, None])
def test_right_checksum_is_reported_once_before_the_last_chunk(length: int | None) -> None:
    results: list[bool] = []
    body = body_of(Chunks(b"a", b"b"), length, checksum=md5(b"ab"), on_compared=results.append)
    assert next(body) == b"a"
    assert results == []
    assert list(body) == [b"b"]
    assert results == [True]


def test_wrong_checksum_is_reported() -> None:
    results: list[bool] = []
    body = body_of(Chunks(b"ab"), 2, checksum=md5(b"xy"), on_compared=results.append)
    message = f"^the data's md5 is {md5(b'ab').digest}, not {md5(b'xy').digest} as its record says$"
    with pytest.raises(WrongHash, match=message):
        next(body)
    assert results == [False]


@pytest.mark.parametrize(
    ("start", "steps", "sent"),
    [
        (1, 1, [b"b", b"cd", b"ef"]),
        (2, 2, [b"cd", b"ef"]),
        (3, 2, [b"d", b"ef"]),
        (4, 3, [b"ef"]),
        (5, 3, [b"f"]),
    ],
)
def test_part_is_hashed_from_the_first_byte(start: int, steps: int, sent: list[bytes]) -> None:
    results: list[bool] = []
    blob = Chunks(b"ab", b"cd", b"ef")
    body = body_of(blob, 6, start=start, checksum=md5(b"abcdef"), on_compared=results.append)
    assert [body.prime() for _ in range(steps)] == [False] * (steps - 1) + [True]
    assert list(body) == sent
    assert results == [True]


@pytest.mark.parametrize("start", [1, 2, 3])
def test_last_chunk_of_a_part_is_held_back_until_the_checksum_is_right(start: int) -> None:
    body = body_of(Chunks(b"ab", b"cd", b"ef"), 6, start=start, checksum=md5(b"wrong"))
    while not body.prime():
        pass
    sent = []
    with pytest.raises(WrongHash):  # noqa: PT012 - which chunk raises is what is asked
        for chunk in body:
            sent.append(chunk)  # noqa: PERF402 - what came before the error counts
    assert b"".join(sent) == b"abcd"[start:]


def test_part_that_is_hashed_resumes_before_its_first_byte() -> None:
    opened: list[int] = []

    def reopen(position: int, version: str | None) -> Blob:
        opened.append(position)
        return Chunks(b"cd", b"ef")

    blob = Chunks(b"ab", BackendUnavailable("reset"))
    body = body_of(blob, 6, start=3, checksum=md5(b"abcdef"), reopen=reopen, resume_attempts=1)
    while not body.prime():
        pass
    assert b"".join(body) == b"def"
    assert opened == [2]


@pytest.mark.parametrize("error", [ZeroDivisionError("a bug"), BackendUnavailable("down")])
def test_what_breaks_it_off_is_logged(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    is_bug = isinstance(error, ZeroDivisionError)
    body = body_of(Chunks(b"a", error), 2)
    next(body)
    with pytest.raises(BackendError) as raised:
        next(body)
    text = "the store raised ZeroDivisionError" if is_bug else "down"
    assert str(raised.value) == text
    assert raised.value.__suppress_context__
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    told = f"image 'i': the store: broken off at byte 1: {text}"
    assert record.getMessage() == told
    assert (record.exc_info or (None, None))[1] is (error if is_bug else None)


def test_what_it_goes_on_after_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    first, second = Chunks(b"a", BackendUnavailable("reset")), Chunks(b"b")
    opened: list[int] = []

    def reopen(received: int, version: str | None) -> Blob:
        opened.append(received)
        return second

    body = body_of(first, 2, reopen=reopen, resume_attempts=3)
    assert list(body) == [b"a", b"b"]
    assert opened == [1]
    assert (first.closed, second.closed) == (1, 1)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == "image 'i': the store: resuming at byte 1: reset"


@pytest.mark.parametrize(
    "error",
    [
        BadReply("x"),
        DataChanged("x"),
        DataForbidden("x"),
        DataMismatch("x"),
        DataNotFound("x"),
        LocationRefused("x"),
        RangeNotSupported("x"),
    ],
)
def test_what_cannot_help_is_not_tried(error: BackendError) -> None:
    body = body_of(Chunks(b"a", error), 2, resume_attempts=3)
    next(body)
    with pytest.raises(type(error)):
        next(body)

    tried: list[int] = []

    def reopen(received: int, version: str | None) -> Blob:
        tried.append(received)
        raise error

    body = body_of(Chunks(b"a", BackendUnavailable("reset")), 2, reopen=reopen, resume_attempts=3)
    next(body)
    with pytest.raises(type(error)):
        next(body)
    assert tried == [1]


@pytest.mark.parametrize("length", [1, 2])
def test_after_the_last_byte_there_is_nothing_to_go_on_with(length: int) -> None:
    chunks = [b"x"] * length
    body = body_of(Chunks(*chunks, BackendUnavailable("reset")), length, resume_attempts=3)
    with pytest.raises(BackendUnavailable, match=r"^reset$"):
        list(body)


def test_a_version_that_nobody_knows_is_not_opened_again() -> None:
    blob = Chunks(b"a", BackendUnavailable("reset"), version=None)
    body = body_of(blob, 2, resume_attempts=3)
    next(body)
    with pytest.raises(BackendUnavailable):
        next(body)


def test_closing_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    error = RuntimeError("a bug")

    class Unclosable(Chunks):
        def close(self) -> None:
            raise error

    assert list(body_of(Unclosable(b"a"), 1)) == [b"a"]
    (record,) = caplog.records
    assert record.getMessage() == "image 'i': the store: closing failed"
    assert record.exc_info is not None
    assert record.exc_info[1] is error


@pytest.mark.parametrize("what", ["fits", "has a checksum", "begins", "has no end", "is closed"])
def test_bytes_are_sent_from_the_cache_that_need_not_be_read(tmp_path: Path, what: str) -> None:
    folder = CacheFolder(str(tmp_path), max_size=100, min_free=0)
    keep(folder, name_for(1, 9), b"012345678")
    file = folder.open_kept(name_for(1, 9))
    assert file is not None
    stop, checksum = (None if what == "has no end" else 9), None
    if what == "has a checksum":
        checksum = md5(b"012345678")
    body = body_of(KeptBlob(file, 0, stop, 4), stop, checksum=checksum)
    asked = []

    def send(descriptor: int, position: int, count: int) -> int:
        asked.append((position, count))
        return count - 1

    if what == "begins":
        body.prime()
    if what == "is closed":
        body.close()
    assert body.send_file(send, 5) == (4 if what == "fits" else 0)
    assert asked == ([(0, 5)] if what == "fits" else [])
    if what == "fits":
        assert (list(body), body.sent) == ([b"4567", b"8"], 9)
    body.close()


def test_bytes_outside_the_cache_are_not_sent_from_a_file() -> None:
    with closing(body_of(Chunks(b"abc"), 3)) as body:
        assert body.send_file(lambda descriptor, position, count: count, 2) == 0
