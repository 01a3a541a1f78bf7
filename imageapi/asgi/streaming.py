# SPDX-License-Identifier: Apache-2.0
"""A response in steps: threads read its data, and the event loop sends it.

A step is a piece of work that may block: one of `ImageAPI.steps`, or reading the next
chunks.  Between two steps, an answer uses no thread, so a slow client keeps no thread
busy.  Two steps of one answer never run at the same time.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Coroutine, Iterator
from functools import partial
from typing import Any, NamedTuple

from webob import Response

from imageapi.api import Steps
from imageapi.asgi.scope import Receive, Send
from imageapi.asgi.socket_writer import Turns, Writer
from imageapi.asgi.threads import Pool, PoolClosed
from imageapi.download.verified_stream import Body

LOG = logging.getLogger(__name__)

# A client that takes more than STEADY_CHUNKS chunks in a row at STEADY_RATE bytes a second is
# steady.  By then, the system's send buffer for a slow client is full.  The steady downloads of
# a pool share STEADY_BYTES: the fewer they are, the larger are their chunks, up to LARGE_CHUNK.
# With 64 KiB, most time would go into passing chunks from thread to thread.
STEADY_CHUNKS = 8
STEADY_RATE = 1024 * 1024
STEADY_BYTES = 64 * 1024 * 1024
LARGE_CHUNK = 768 * 1024

# A steady download is quick while its store gives each chunk within so many seconds.  It takes
# turns with others, in which a thread reads and writes.  A slow store would hold a turn.
QUICK_SECONDS = 0.02

# How many seconds an answer waits for data that another reader reads: the first time, and
# at most.
FIRST_PAUSE, LONGEST_PAUSE = 0.002, 0.064

# How many seconds a download may write in a thread while others wait for a turn.
TURN_SECONDS = 0.05


class Abandoned(Exception):
    """A step does not run, because its answer was abandoned."""


class Part(NamedTuple):
    """The bytes that must be sent after a step.

    :ivar chunk: the bytes; may be empty.
    :ivar is_last: whether this is the end of the data, which is then closed.
    :ivar written: how many bytes a turn has written; None if the step was not a turn.
    """

    chunk: bytes
    is_last: bool
    written: int | None = None


class Answer:
    """The work on one answer; ``begin``, ``read`` and ``pass_on`` are steps.

    :ivar is_finished: whether everything was sent, and the data is closed.
    :ivar is_abandoned: whether no further step may begin.
    :ivar read_seconds: how long the last read took.
    """

    status: int
    headers: list[tuple[bytes, bytes]]

    def __init__(self, steps: Steps) -> None:
        """Prepare the answer; run no step yet.

        :param steps: return the response.  The answer then owns its data.
        """
        self._steps = steps
        self._data: Body | None = None
        # The body whose data the next step needs.
        self._awaited: Body | None = None
        self._step = threading.Lock()  # held while a step runs
        self.is_finished = self.is_abandoned = False
        self.read_seconds = 0.0

    def begin(self) -> Part | None:
        """Run the next step towards the response; with the last one, read the first chunk.

        :returns: None if there is no response yet: call this again.
        """
        with self._stepping():
            try:
                self._awaited = next(self._steps)
            except StopIteration as end:
                self._awaited = None
                response: Response = end.value
            else:
                return None
            self.status = response.status_int
            self.headers = [
                (name.lower().encode("latin-1"), value.encode("latin-1"))
                for name, value in response.headerlist
            ]
            if isinstance(response.app_iter, Body):
                self._data = self._awaited = response.app_iter
                return self._read()
            return Part(b"".join(response.app_iter), is_last=True)

    async def until_data(self) -> None:
        """Wait until the next step need not wait for data that another reader reads."""
        pause = FIRST_PAUSE
        while self._awaited is not None and self._awaited.awaits_data:
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def read(self, preferred_size: int = 0) -> Part:
        """Read a chunk.

        :param preferred_size: of the chunk in bytes; see `Blob.preferred_chunk_size`.
        :raises BackendError: the data cannot be completed.
        """
        with self._stepping():
            if self._data is not None:
                self._data.prefer_chunks_of(preferred_size)
            return self._read()

    def pass_on(self, writer: Writer) -> Part:
        """Read and write while the client takes everything.

        After `TURN_SECONDS`, end as soon as another answer waits for a turn.

        :returns: what must still be sent.  This includes the last chunk, because the
            server must learn that the data has ended.
        :raises BackendError: the data cannot be completed.
        """
        end = time.monotonic() + TURN_SECONDS
        written = 0
        with writer.ahead():
            while True:
                count = self._send_file(writer)
                written += count
                if not count:
                    part = self.read(LARGE_CHUNK)
                    if part.is_last:
                        return part._replace(written=written)
                    rest = writer.write(part.chunk)
                    written += len(part.chunk) - len(rest)
                    if rest:
                        return Part(rest, is_last=False, written=written)
                is_over = writer.turns.waiting and time.monotonic() >= end
                if is_over or (self._data is not None and self._data.awaits_data):
                    return Part(b"", is_last=False, written=written)

    def _send_file(self, writer: Writer) -> int:
        """Let the system send a chunk that lies in a file; return how many bytes it took."""
        with self._stepping():
            return 0 if self._data is None else self._data.send_file(writer.send_file, LARGE_CHUNK)

    def _read(self) -> Part:
        if self._data is None:
            return Part(b"", is_last=True)
        began = time.monotonic()
        chunk = next(self._data, b"")
        self.read_seconds = time.monotonic() - began
        return Part(chunk, is_last=self._data.is_complete)

    def finish(self) -> None:
        """Close the data after its last chunk was sent."""
        self.is_finished = True
        if self._data is not None:
            self._data.close()
            self._data = None

    @contextlib.contextmanager
    def _stepping(self) -> Iterator[None]:
        """Run a step; close the data after it if the answer was abandoned."""
        try:
            with self._step:
                if self.is_abandoned:
                    raise Abandoned
                yield
        finally:
            if self.is_abandoned:
                self.abandon()

    def abandon(self) -> None:
        """Close the data now, or after the running step.  May be called repeatedly.

        This does not wait for a step, but closing may block.
        """
        self.is_abandoned = True
        if self._step.acquire(blocking=False):
            try:
                self._steps.close()
                if self._data is not None:
                    self._data.is_left = True
                    self._data.close()
                    self._data = None
            finally:
                self._step.release()


async def send_answer(
    pool: Pool,
    steps: Steps,
    receive: Receive,
    send: Send,
    writer: Writer | None = None,
) -> None:
    """Answer a request over ASGI.

    :param pool: runs the steps.
    :param writer: writes to the client; None if the server does not let threads write.
    :raises BackendError: the data cannot be completed.  The server then breaks the
        connection off.
    """
    answer = Answer(steps)
    try:
        part = await pool.run(answer.begin)
        is_short = part is not None and part.is_last
        sending = _send_all(pool, answer, part, send, writer)
        # Free the memory of the first chunk as soon as it was sent.
        del part
        if is_short:
            await sending
        else:
            await _until_client_leaves(receive, sending)
    except PoolClosed:
        # When the application returns, the server breaks off an incomplete response.
        LOG.warning("a response is broken off, because the server is shutting down")
    finally:
        if not answer.is_finished:
            answer.is_abandoned = True
            try:
                pool.run(answer.abandon)
            except RuntimeError:  # the pool is closed, or the loop has ended
                answer.abandon()


async def _send_all(
    pool: Pool, answer: Answer, part: Part | None, send: Send, writer: Writer | None
) -> None:
    while part is None:
        await answer.until_data()
        part = await pool.run(answer.begin)
    start = {"status": answer.status, "headers": answer.headers}
    await send({"type": "http.response.start", **start})
    if not any(name == b"content-length" for name, _ in answer.headers):
        writer = None  # the server must frame each chunk
    with pool.downloading():
        part = await _send_chunks(pool, answer, part, send, writer)
    await _send_part(part, send)
    answer.finish()
    if writer is not None:
        writer.is_complete = True


async def _send_chunks(
    pool: Pool, answer: Answer, part: Part, send: Send, writer: Writer | None
) -> Part:
    """Send the data up to the last chunk; return that."""
    quick = steady = 0
    while not part.is_last:
        sending, size = time.monotonic(), len(part.chunk) + (part.written or 0)
        if writer is None or part.written is None:
            await _send_part(part, send)
        else:
            await _send_rest(part, send, writer.turns)
        # Free the memory of the chunk that was sent.
        del part
        steady = steady + 1 if size >= (time.monotonic() - sending) * STEADY_RATE else 0
        quick = quick + 1 if steady and answer.read_seconds < QUICK_SECONDS else 0
        await answer.until_data()
        if quick > STEADY_CHUNKS and writer is not None and await writer.turns.begin():
            try:
                part = await pool.run(partial(answer.pass_on, writer))
            finally:
                writer.turns.end()
        else:
            share = STEADY_BYTES // pool.downloads if steady > STEADY_CHUNKS else 0
            part = await pool.run(partial(answer.read, min(share, LARGE_CHUNK)))
    return part


async def _send_rest(part: Part, send: Send, turns: Turns) -> None:
    """Send what the client did not take during a turn."""
    turns.stalled += 1
    try:
        await _send_part(part, send)
    finally:
        turns.stalled -= 1


async def _send_part(part: Part, send: Send) -> None:
    if part.chunk or part.is_last:
        body = {"body": part.chunk, "more_body": not part.is_last}
        await send({"type": "http.response.body", **body})


async def _until_client_leaves(receive: Receive, sending: Coroutine[Any, Any, None]) -> None:
    """Send until everything is sent, or the client disconnects.

    :raises BackendError: the data cannot be completed.
    """
    tasks = asyncio.ensure_future(sending), asyncio.ensure_future(_leaves(receive))
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _leaves(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass  # a part of the request body, which is ignored
