# SPDX-License-Identifier: Apache-2.0
"""An answer in steps: threads read its data, and the event loop sends it.

A step is a piece of work that may block: one of `ImageAPI.steps`, or reading the next
chunks.  Between two steps an answer has no thread, so a client that reads slowly
holds none.  No two steps of one answer ever run at once.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Coroutine, Generator, Iterator
from functools import partial
from typing import Any, NamedTuple

from webob import Response

from imageapi.body import Body
from imageapi.errors import BackendError
from imageapi.pool import Pool, PoolClosed
from imageapi.scope import Receive, Send

LOG = logging.getLogger(__name__)

# A client is fast when it takes a step's chunks within so many seconds, so often in a
# row: what the system takes ahead of a slow one is over by then.  For a fast one a
# step reads twice as many chunks as the step before, up to so many bytes.
QUICK_SECONDS = 0.02
QUICK_STEPS = 8
LARGEST_STEP = 512 * 1024


#: The steps up to a response; each runs in a thread.
Responding = Generator[None, None, Response]


class Abandoned(Exception):
    """A step is not run, since nobody waits for it any more."""


class Part(NamedTuple):
    """What a step has read.

    :ivar is_last: nothing comes after it, and the data is closed.
    """

    chunks: list[bytes]
    is_last: bool


class Answer:
    """The work on one answer; ``begin`` and ``read`` are steps, for threads.

    :ivar is_complete: all was read, and nothing is left to be closed.
    :ivar is_abandoned: no step is to begin any more.
    """

    status: int
    headers: list[tuple[bytes, bytes]]

    def __init__(self, responding: Responding) -> None:
        """Prepare it; nothing is done yet.

        :param responding: makes the response, whose data this then owns.
        """
        self._responding = responding
        self._data: Body | None = None
        self._step = threading.Lock()  # held while a step runs
        self.is_complete = self.is_abandoned = False

    def begin(self) -> Part | None:
        """Do the next step up to the response, and then read the first chunk of its data.

        :returns: None when there is no response yet: call it again.
        """
        with self._stepping():
            try:
                next(self._responding)
            except StopIteration as end:
                return self._first_part(end.value)
            return None

    def _first_part(self, response: Response) -> Part:
        if isinstance(response.app_iter, Body):
            self._data = response.app_iter
        self.status = response.status_int
        self.headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in response.headerlist
        ]
        if self._data is None:
            self.is_complete = True
            return Part([b"".join(response.app_iter)], is_last=True)
        return self._read(1)

    def read(self, count: int) -> Part:
        """Read so many chunks at most, and not many more bytes than `LARGEST_STEP`.

        :raises BackendError: the data cannot be completed.
        """
        with self._stepping():
            return self._read(count)

    def _read(self, count: int) -> Part:
        chunks: list[bytes] = []
        size = 0
        data = self._data
        while data is not None and len(chunks) < count and size < LARGEST_STEP:
            try:
                chunk = next(data, b"")
            except BackendError:
                # The next step raises it again: what was read before is still sent.
                if chunks:
                    break
                raise
            chunks.append(chunk)
            size += len(chunk)
            if data.is_complete:
                self._data = data = None
                self.is_complete = True
        return Part(chunks, is_last=self.is_complete)

    @contextlib.contextmanager
    def _stepping(self) -> Iterator[None]:
        """Runs a step, and closes the data after it where nobody waits for more."""
        try:
            with self._step:
                if self.is_abandoned:
                    raise Abandoned
                yield
        finally:
            if self.is_abandoned:
                self.abandon()

    def abandon(self) -> None:
        """Close the data: now, or after the step that runs.  Idempotent.

        Waits for no step; closing may still block.
        """
        self.is_abandoned = True
        if self._step.acquire(blocking=False):
            try:
                self._responding.close()
                if self._data is not None:
                    self._data.close()
                    self._data = None
            finally:
                self._step.release()


async def send_answer(pool: Pool, responding: Responding, receive: Receive, send: Send) -> None:
    """Answer a request over ASGI.

    :param pool: in which the steps run.
    :raises BackendError: the data cannot be completed: the server then breaks
        the connection off.
    """
    answer = Answer(responding)
    try:
        part = await pool.run(answer.begin)
        sending = _send_all(pool, answer, part, send)
        if part is not None and part.is_last:
            await sending
        else:
            await _until_client_leaves(receive, sending)
    except PoolClosed:
        # The server breaks off what is not complete when its application returns.
        LOG.warning("an answer is broken off, since the server ends")
    finally:
        if not answer.is_complete:
            _abandon(pool, answer)


def _abandon(pool: Pool, answer: Answer) -> None:
    answer.is_abandoned = True
    try:
        pool.run(answer.abandon)
    except RuntimeError:  # the pool is closed, or the loop has ended
        answer.abandon()


async def _send_all(pool: Pool, answer: Answer, part: Part | None, send: Send) -> None:
    while part is None:
        part = await pool.run(answer.begin)
    start = {"status": answer.status, "headers": answer.headers}
    await send({"type": "http.response.start", **start})
    quick_steps, count = 0, 1
    while True:
        began = time.monotonic()
        await _send_part(part, send)
        if part.is_last:
            return
        if time.monotonic() - began < QUICK_SECONDS:
            quick_steps += 1
            count = 2 * count if quick_steps > QUICK_STEPS else 1
        else:
            quick_steps, count = 0, 1
        part = await pool.run(partial(answer.read, count))


async def _send_part(part: Part, send: Send) -> None:
    chunks = part.chunks
    chunks.reverse()
    while chunks:
        is_more = not part.is_last or len(chunks) > 1
        # Taken off the list, for a chunk that is sent is to be forgotten.
        body = {"body": chunks.pop(), "more_body": is_more}
        await send({"type": "http.response.body", **body})
        del body


async def _until_client_leaves(receive: Receive, sending: Coroutine[Any, Any, None]) -> None:
    """Send until it is done, or until the client leaves.

    :raises BackendError: what the sending raises.
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
        pass  # a piece of a body that nobody reads
