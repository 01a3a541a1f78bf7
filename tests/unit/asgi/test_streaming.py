# SPDX-License-Identifier: Apache-2.0
"""How an answer's steps follow each other, and how its data is closed."""

import asyncio
import contextlib
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from webob import Response

from imageapi.api import Steps
from imageapi.asgi import streaming
from imageapi.asgi.scope import Message
from imageapi.asgi.socket_writer import TURNS, Turns, Writer
from imageapi.asgi.streaming import send_answer
from imageapi.asgi.threads import Pool
from imageapi.backends.base import Blob
from imageapi.cache.blobs import KeptBlob
from imageapi.cache.folder import CacheFolder
from imageapi.download.checksum import Checksum
from imageapi.errors import BackendError
from tests.asgi import ASGIClient
from tests.unit.cache.filling import keep, name_for
from tests.unit.download.test_verified_stream import Chunks, body_of


@pytest.fixture
def pool() -> Iterator[Pool]:
    pool = Pool(2)
    yield pool
    pool.close()


def answering(blob: Blob, length: int | None, **more: Any) -> Steps:
    """What makes the response with a Blob's data."""
    body = body_of(blob, length, **more)
    try:
        while not body.prime():
            yield None
    except BaseException:
        body.close()
        raise
    headers = [("X-Name", "v")] + ([("Content-Length", str(length))] if length else [])
    return Response(headerlist=headers, app_iter=body)


def send_all(pool: Pool, responding: Steps, client: ASGIClient | None = None) -> Any:
    async def exchange() -> list[Message]:
        at = client or ASGIClient()
        await asyncio.wait_for(send_answer(pool, responding, at.receive, at.send), 60)
        return at.sent

    return asyncio.run(exchange())


@pytest.mark.parametrize("length", [6, None])
def test_all_chunks_are_sent(pool: Pool, length: int | None) -> None:
    blob = Chunks(b"a", b"bc", b"d", b"e", b"f")
    start, *parts = send_all(pool, answering(blob, length))
    assert start == {
        "type": "http.response.start",
        "status": 200,
        "headers": [(b"x-name", b"v")] + ([(b"content-length", b"6")] if length else []),
    }
    assert [part["body"] for part in parts] == [b"a", b"bc", b"d", b"e", b"f"]
    assert [part["more_body"] for part in parts] == [True] * 4 + [False]
    assert blob.closed == 1


def steps_in_pool(pool: Pool, monkeypatch: pytest.MonkeyPatch, responding: Steps) -> int:
    """How many steps an answer has taken."""
    count = 0
    run = pool.run

    def counted(work: Callable[[], Any]) -> Any:
        nonlocal count
        count += 1
        return run(work)

    monkeypatch.setattr(pool, "run", counted)
    send_all(pool, responding)
    return count


def test_small_answer_takes_one_step(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    assert steps_in_pool(pool, monkeypatch, answering(Chunks(b"data"), 4)) == 1


def test_each_chunk_is_a_step(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    assert steps_in_pool(pool, monkeypatch, answering(Chunks(*[b"x"] * 31), 31)) == 31


class Watched(Chunks):
    """Records the chunk size of each read."""

    def __init__(self, *gives: bytes | Exception) -> None:
        super().__init__(*gives)
        self.preferred: list[int] = []

    def __next__(self) -> Any:
        self.preferred.append(self.preferred_chunk_size)
        return super().__next__()


@pytest.mark.parametrize(
    ("others", "size"), [(0, streaming.LARGE_CHUNK), (127, 512 * 1024), (4095, 16 * 1024)]
)
def test_steady_downloads_share_the_memory_for_chunks(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, others: int, size: int
) -> None:
    monkeypatch.setattr(streaming, "STEADY_RATE", 0)
    pool.downloads = others
    blob = Watched(*[b"x"] * 14)
    send_all(pool, answering(blob, 14))
    usual = 1 + streaming.STEADY_CHUNKS
    # The last read is for the end.
    assert blob.preferred[:14] == [0] * usual + [size] * (14 - usual)
    assert pool.downloads == others


def test_a_client_that_is_not_steady_gets_small_chunks(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "STEADY_RATE", 1e12)
    blob = Watched(*[b"x"] * 14)
    send_all(pool, answering(blob, 14))
    assert set(blob.preferred) == {0}


class Takes:
    """A `Writer` that takes so many chunks, and the first byte of the next."""

    def __init__(self, count: int) -> None:
        self.turns = Turns()
        self.is_complete = False
        self.left = count
        self.taken = b""
        self.threads: set[int] = set()

    @contextlib.contextmanager
    def ahead(self) -> Iterator[None]:
        yield

    def send_file(self, descriptor: int, position: int, count: int) -> int:
        """Take three bytes at a time."""
        data = os.pread(descriptor, min(count, 3), position)
        self.taken += data
        return len(data)

    def write(self, data: bytes) -> bytes:
        self.threads.add(threading.get_ident())
        self.left -= 1
        size = len(data) if self.left >= 0 else 1
        self.taken += data[:size]
        return data[size:]


def write_all(pool: Pool, responding: Steps, writer: Any) -> list[Message]:
    async def exchange() -> list[Message]:
        client = ASGIClient()
        sending = send_answer(pool, responding, client.receive, client.send, writer)
        await asyncio.wait_for(sending, 60)
        return client.sent

    return asyncio.run(exchange())


@pytest.mark.parametrize("takes", [0, 1, 3, 99])
def test_fast_download_is_written_by_the_thread_that_reads_it(
    pool: Pool, takes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "QUICK_SECONDS", 60)
    monkeypatch.setattr(streaming, "STEADY_RATE", 0)
    monkeypatch.setattr(streaming, "STEADY_CHUNKS", 1)
    chunks = [bytes([65 + n]) * 2 for n in range(12)]
    writer = Takes(takes)
    sent = write_all(pool, answering(Chunks(*chunks), 24), writer)
    bodies = [message["body"] for message in sent[1:]]
    assert writer.taken
    assert writer.is_complete
    assert threading.get_ident() not in writer.threads
    assert b"" not in bodies
    # Each chunk once and in order. The server itself sends the end.
    assert sorted(b"".join(bodies) + writer.taken) == sorted(b"".join(chunks))
    assert bodies[-1] == b"LL"
    assert sent[-1]["more_body"] is False


def test_data_in_the_cache_is_sent_from_its_file(
    pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "STEADY_RATE", 0)
    monkeypatch.setattr(streaming, "QUICK_SECONDS", 60)
    monkeypatch.setattr(streaming, "STEADY_CHUNKS", 1)
    data = os.urandom(32)
    folder = CacheFolder(str(tmp_path), max_size=100, min_free=0)
    keep(folder, name_for(1, 32), data)
    file = folder.open_kept(name_for(1, 32))
    assert file is not None
    writer = Takes(0)
    sent = write_all(pool, answering(KeptBlob(file, 0, None, 4), 32), writer)
    bodies = [message["body"] for message in sent[1:]]
    # The server sends the first chunks, and the end.
    assert bodies == [data[:4], data[4:8], data[-1:]]
    assert writer.taken == data[8:-1]


def test_data_of_unknown_length_is_not_written_in_threads(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server frames it."""
    monkeypatch.setattr(streaming, "QUICK_SECONDS", 60)
    monkeypatch.setattr(streaming, "STEADY_RATE", 0)
    monkeypatch.setattr(streaming, "STEADY_CHUNKS", 0)
    writer = Takes(99)
    sent = write_all(pool, answering(Chunks(*[b"x"] * 9), None), writer)
    assert len(sent) == 10
    assert writer.taken == b""


@pytest.mark.parametrize(("name", "value"), [("QUICK_SECONDS", -1), ("STEADY_RATE", 1e12)])
def test_slow_download_is_not_written_in_threads(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, name: str, value: float
) -> None:
    """Whether the store or the client is slow."""
    monkeypatch.setattr(streaming, name, value)
    writer = Takes(99)
    sent = write_all(pool, answering(Chunks(*[b"x"] * 20), 20), writer)
    assert len(sent) == 21
    assert writer.taken == b""


def test_download_goes_on_without_a_turn_that_does_not_come(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where others read from a backend that hangs."""
    monkeypatch.setattr(streaming, "QUICK_SECONDS", 60)
    monkeypatch.setattr(streaming, "STEADY_RATE", 0)
    monkeypatch.setattr(streaming, "STEADY_CHUNKS", 0)

    async def exchange() -> None:
        writer = Takes(99)
        for _ in range(TURNS):
            assert await writer.turns.begin()
        client = ASGIClient()
        responding = answering(Chunks(*[b"x"] * 3), 3)
        await send_answer(pool, responding, client.receive, client.send, cast(Writer, writer))
        assert writer.taken == b""
        assert len(client.sent) == 4
        assert writer.turns.waiting == 0

    asyncio.run(asyncio.wait_for(exchange(), 60))


def test_client_that_stalls_after_a_turn_is_slow_again(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A chunk of two bytes may take a tenth of a second.
    monkeypatch.setattr(streaming, "STEADY_RATE", 20)
    monkeypatch.setattr(streaming, "QUICK_SECONDS", 60)
    monkeypatch.setattr(streaming, "STEADY_CHUNKS", 2)
    writer = Takes(0)
    stalled = []

    class Stalls(ASGIClient):
        async def send(self, message: Message) -> None:
            if writer.turns.stalled:
                stalled.append(writer.turns.stalled)
                await asyncio.sleep(0.3)
            await super().send(message)

    async def exchange() -> None:
        client = Stalls()
        responding = answering(Chunks(*[b"xy"] * 11), 22)
        await send_answer(pool, responding, client.receive, client.send, cast(Writer, writer))
        assert len(client.sent) == 12

    asyncio.run(asyncio.wait_for(exchange(), 60))
    # After at least three steady chunks each time.
    assert 1 <= len(stalled) <= 2
    assert set(stalled) == {1}
    assert writer.turns.stalled == 0


@pytest.mark.parametrize("others_wait", [True, False])
def test_turn_ends_when_others_wait(
    pool: Pool, others_wait: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "QUICK_SECONDS", 60)
    monkeypatch.setattr(streaming, "STEADY_RATE", 0)
    monkeypatch.setattr(streaming, "STEADY_CHUNKS", 0)
    monkeypatch.setattr(streaming, "TURN_SECONDS", 0)
    writer = Takes(99)
    writer.turns.waiting = int(others_wait)
    steps = []
    pass_on = streaming.Answer.pass_on

    def counted(*given: Any) -> Any:
        steps.append(given)
        return pass_on(*given)

    monkeypatch.setattr(streaming.Answer, "pass_on", counted)
    write_all(pool, answering(Chunks(*[b"x"] * 9), 9), writer)
    assert len(steps) == (8 if others_wait else 1)


def test_data_is_closed_when_a_client_leaves_while_it_is_written(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "QUICK_SECONDS", 60)
    monkeypatch.setattr(streaming, "STEADY_RATE", 0)
    monkeypatch.setattr(streaming, "STEADY_CHUNKS", 0)
    blob = Chunks(*[b"x"] * 9)

    async def exchange() -> None:
        client = ASGIClient()
        loop = asyncio.get_running_loop()

        class Leaves(Takes):
            def write(self, data: bytes) -> bytes:
                asyncio.run_coroutine_threadsafe(gone(), loop).result(60)
                return super().write(data)

        async def gone() -> None:
            client.leave()
            await asyncio.wait([sending], timeout=60)

        writer = Leaves(99)
        sending = asyncio.ensure_future(
            send_answer(pool, answering(blob, 9), client.receive, client.send, cast(Writer, writer))
        )
        await asyncio.wait([sending], timeout=60)
        assert sending.done()
        await asyncio.to_thread(pool.close)
        assert writer.taken == b"x"
        assert not writer.is_complete

    asyncio.run(exchange())
    assert blob.closed == 1


@pytest.mark.parametrize("length", [4, None])
def test_data_that_cannot_be_completed_raises(pool: Pool, length: int | None) -> None:
    """The server then breaks the connection off. The data before the error is sent."""
    blob = Chunks(b"a", b"b", b"c", BackendError("torn"))

    async def exchange() -> list[Message]:
        client = ASGIClient()
        with pytest.raises(BackendError, match="torn"):
            await send_answer(pool, answering(blob, length), client.receive, client.send)
        return client.sent

    _, *parts = asyncio.run(exchange())
    sent = b"".join(part["body"] for part in parts)
    assert sent == (b"abc" if length else b"ab")
    assert all(part["more_body"] for part in parts)
    assert blob.closed == 1


def test_what_respond_raises_is_raised(pool: Pool) -> None:
    def responding() -> Steps:
        raise ZeroDivisionError
        yield

    with pytest.raises(ZeroDivisionError):
        send_all(pool, responding())


def test_data_is_closed_when_the_answer_cannot_be_begun(pool: Pool) -> None:
    blob = Chunks(b"a", b"b")

    class Deaf(ASGIClient):
        async def send(self, message: Message) -> None:
            raise OSError("gone")

    async def exchange() -> None:
        client = Deaf()
        await send_answer(pool, answering(blob, 2), client.receive, client.send)

    with pytest.raises(OSError, match="gone"):
        asyncio.run(exchange())
    pool.close()  # waits for what closes it
    assert blob.closed == 1


class Stalled(ASGIClient):
    """Takes nothing after the first chunk."""

    def __init__(self) -> None:
        super().__init__({"type": "http.request", "body": b"x", "more_body": True})
        self.is_stalled = asyncio.Event()

    async def send(self, message: Message) -> None:
        if len(self.sent) == 2:
            self.is_stalled.set()
            await asyncio.Event().wait()
        await super().send(message)


@pytest.mark.parametrize("cancelled", [True, False])
def test_data_is_closed_when_a_client_leaves_that_takes_nothing(
    pool: Pool, cancelled: bool
) -> None:
    blob = Chunks(b"a", b"b", b"c", b"d")

    async def exchange() -> None:
        client = Stalled()
        sending = asyncio.ensure_future(
            send_answer(pool, answering(blob, 4), client.receive, client.send)
        )
        await asyncio.wait_for(client.is_stalled.wait(), 60)
        assert blob.closed == 0
        if cancelled:  # as a server does that is stopped
            sending.cancel()
        else:
            client.leave()
        await asyncio.wait([sending], timeout=60)
        assert sending.cancelled() is cancelled

    asyncio.run(exchange())
    pool.close()
    assert blob.closed == 1


class Waiting(Chunks):
    """Its second chunk comes when the test allows it."""

    def __init__(self, *gives: bytes) -> None:
        super().__init__(*gives)
        self.waits = threading.Event()
        self.goes_on = threading.Event()
        self.read = 0

    def __next__(self) -> Any:
        self.read += 1
        if self.read == 2:
            self.waits.set()
            assert self.goes_on.wait(60)
            assert self.closed == 0, "closed in the middle of a step"
        return super().__next__()


@pytest.mark.parametrize("cancelled", [True, False])
@pytest.mark.parametrize("in_respond", [True, False])
def test_step_that_runs_ends_before_the_data_is_closed(
    pool: Pool, cancelled: bool, in_respond: bool
) -> None:
    # If the length is unknown, the response begins when the second chunk is there.
    blob = Waiting(b"a", b"b", b"c")

    async def exchange() -> None:
        client = ASGIClient()
        length = None if in_respond else 3
        sending = asyncio.ensure_future(
            send_answer(pool, answering(blob, length), client.receive, client.send)
        )
        assert await asyncio.to_thread(blob.waits.wait, 60)
        if in_respond or cancelled:
            sending.cancel()
        else:
            client.leave()
        # The loop does not wait for the step.
        await asyncio.wait([sending], timeout=60)
        assert sending.done()
        assert blob.closed == 0
        blob.goes_on.set()

    asyncio.run(exchange())
    pool.close()
    assert blob.closed == 1


def test_step_that_has_not_begun_is_not_run(pool: Pool) -> None:
    """The pool is busy, and the client leaves before a thread runs the step."""
    release = threading.Event()
    calls: list[str] = []

    def responding() -> Steps:
        calls.append("respond")
        return Response()
        yield

    async def exchange() -> None:
        busy = [pool.run(partial(release.wait, 60)) for _ in range(2)]
        client = ASGIClient()
        sending = asyncio.ensure_future(
            send_answer(pool, responding(), client.receive, client.send)
        )
        await asyncio.sleep(0)
        sending.cancel()
        await asyncio.wait([sending], timeout=60)
        assert sending.cancelled()
        release.set()
        assert await asyncio.gather(*busy) == [True, True]

    asyncio.run(exchange())
    pool.close()
    assert calls == []


@pytest.mark.parametrize("chunks", [1, 3])
def test_answer_of_a_pool_that_is_closed_is_left_incomplete(
    pool: Pool, chunks: int, caplog: pytest.LogCaptureFixture
) -> None:
    """And no traceback is logged for each of a thousand downloads."""
    blob = Chunks(*[b"x"] * chunks)

    class Closing(ASGIClient):
        async def send(self, message: Message) -> None:
            await asyncio.to_thread(pool.close)
            await super().send(message)

    client = Closing()
    send_all(pool, answering(blob, chunks), client)
    assert [part["more_body"] for part in client.sent[1:]] == [chunks > 1]
    assert caplog.text.count("broken off, because the server is shutting down") == (chunks > 1)
    assert blob.closed == 1


def test_data_is_closed_though_the_pool_is(pool: Pool) -> None:
    blob = Chunks(b"a", b"b", b"c", b"d")

    async def exchange() -> None:
        client = Stalled()
        sending = asyncio.ensure_future(
            send_answer(pool, answering(blob, 4), client.receive, client.send)
        )
        await asyncio.wait_for(client.is_stalled.wait(), 60)
        await asyncio.to_thread(pool.close)
        client.leave()
        await asyncio.wait_for(sending, 60)

    asyncio.run(exchange())
    assert blob.closed == 1


def test_slow_clients_hold_no_thread(pool: Pool) -> None:
    """Two threads serve ten clients that read nothing, and one that reads."""
    blobs = [Chunks(b"a", b"b", b"c", b"d") for _ in range(10)]

    async def exchange() -> list[Message]:
        stalled = [Stalled() for _ in blobs]
        sending = [
            asyncio.ensure_future(
                send_answer(pool, answering(blob, 4), client.receive, client.send)
            )
            for blob, client in zip(blobs, stalled, strict=True)
        ]
        for one in stalled:
            await asyncio.wait_for(one.is_stalled.wait(), 60)
        other = ASGIClient()
        respond = answering(Chunks(b"a", b"b"), 2)
        await asyncio.wait_for(send_answer(pool, respond, other.receive, other.send), 60)
        for one in stalled:
            one.leave()
        await asyncio.wait_for(asyncio.gather(*sending), 60)
        return other.sent

    assert len(asyncio.run(exchange())) == 3
    pool.close()
    assert [blob.closed for blob in blobs] == [1] * 10


HASHED = Checksum("md5", hashlib.md5(b"abcdef").hexdigest())


def hashed_part(blob: Chunks) -> Steps:
    """What makes the response with the last byte of six, all of which are to be hashed."""
    return answering(blob, 6, start=5, checksum=HASHED)


def test_part_is_hashed_before_it_is_sent(pool: Pool) -> None:
    _, part = send_all(pool, hashed_part(Chunks(b"ab", b"cd", b"ef")))
    assert part == {"type": "http.response.body", "body": b"f", "more_body": False}


def test_each_chunk_that_is_hashed_before_a_part_is_a_step(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = hashed_part(Chunks(b"ab", b"cd", b"ef"))
    assert steps_in_pool(pool, monkeypatch, answer) == 3


@pytest.mark.parametrize("cancelled", [True, False])
def test_data_is_closed_when_a_client_leaves_while_it_is_hashed(
    pool: Pool, cancelled: bool
) -> None:
    blob = Waiting(b"ab", b"cd", b"ef")

    async def exchange() -> list[Message]:
        client = ASGIClient()
        sending = asyncio.ensure_future(
            send_answer(pool, hashed_part(blob), client.receive, client.send)
        )
        assert await asyncio.to_thread(blob.waits.wait, 60)
        if cancelled:
            sending.cancel()
        else:
            client.leave()
        await asyncio.wait([sending], timeout=60)
        assert sending.done()
        blob.goes_on.set()
        return client.sent

    assert asyncio.run(exchange()) == []
    pool.close()
    assert blob.closed == 1
    assert blob.read == 2
