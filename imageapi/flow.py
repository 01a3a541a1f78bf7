# SPDX-License-Identifier: Apache-2.0
"""An answer in steps: threads read its data, and the event loop sends it.

A step is a piece of work that may block: one of `ImageAPI.steps`, or reading the next
chunks.  Between two steps an answer has no thread, so a client that reads slowly
holds none.  No two steps of one answer ever run at once.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

from webob import Response

from imageapi.body import Body
from imageapi.errors import BackendError
from imageapi.scope import Receive, Send

LOG = logging.getLogger(__name__)

# A client is fast when it takes a step's chunks within so many seconds, so often in a
# row: a slow one first fills what the system holds for it.  For a fast one a step reads
# twice as many chunks as the step before, up to so many bytes.
QUICK_SECONDS = 0.02
QUICK_STEPS = 8
LARGEST_STEP = 512 * 1024


#: The steps up to a response; each runs in a thread.
Responding = Generator[None, None, Response]


class ThreadsClosed(Exception):
    """No step is run any more."""


class Part(NamedTuple):
    """What a step has read.

    :ivar is_last: nothing comes after it, and the data is closed.
    """

    chunks: list[bytes]
    is_last: bool


class Answer:
    """The work on one answer; its methods are steps, for threads."""

    status: int
    headers: list[tuple[bytes, bytes]]

    def __init__(self, responding: Responding) -> None:
        """Prepare it; nothing is done yet.

        :param responding: makes the response, whose data this then owns.
        """
        self._responding = responding
        self._data: Body | None = None

    def begin(self) -> Part | None:
        """Do the next step up to the response, and then read the first chunk of its data.

        :returns: None when there is no response yet: call it again.
        """
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
            return Part([b"".join(response.app_iter)], is_last=True)
        return self.read(1)

    def read(self, count: int) -> Part:
        """Read so many chunks at most, and not many more bytes than `LARGEST_STEP`.

        :raises BackendError: the data cannot be completed.
        """
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
        return Part(chunks, is_last=data is None)

    def close(self) -> None:
        """Close the data, if it is open.  Idempotent."""
        self._responding.close()
        if self._data is not None:
            self._data.close()


class Threads:
    """A bounded pool of threads, in which the steps of all answers run."""

    def __init__(self, count: int) -> None:
        """Make the pool; it starts no thread before it needs one."""
        self._pool = ThreadPoolExecutor(count, "imageapi")

    def close(self) -> None:
        """Wait for the steps that run, and end the threads."""
        self._pool.shutdown()

    async def send_answer(self, responding: Responding, receive: Receive, send: Send) -> None:
        """Answer a request over ASGI.

        :raises BackendError: the data cannot be completed: the server then breaks
            the connection off.
        """
        answer = Answer(responding)
        steps = _Steps(self._pool, answer.close)
        try:
            part = await steps.run(answer.begin)
            sending = _send_all(answer, steps, part, send)
            if part is not None and part.is_last:
                await sending
            else:
                await _until_client_leaves(receive, sending)
        except ThreadsClosed:
            # The server breaks off what is not complete when its application returns.
            LOG.warning("an answer is broken off, since the server ends")
        finally:
            steps.close()


_Result = TypeVar("_Result", bound=Part | None)


class _Steps:
    """Runs the steps of one answer, one after the other."""

    def __init__(self, pool: ThreadPoolExecutor, close: Callable[[], None]) -> None:
        """Begin without a step.

        :param close: to be called after the last step, in a thread of the pool.
        """
        self._pool = pool
        self._close = close
        self._step: Future[Any] | None = None
        self._is_complete = False

    async def run(self, step: Callable[[], _Result]) -> _Result:
        try:
            future = self._step = self._pool.submit(step)
        except RuntimeError:
            raise ThreadsClosed from None
        part: _Result = await asyncio.wrap_future(future)
        self._is_complete = part is not None and part.is_last
        return part

    def close(self) -> None:
        """Close the data, after the step that may still run."""
        if self._is_complete:
            return
        if self._step is not None and not self._step.done():
            self._step.add_done_callback(lambda _: self._close())
            return
        try:
            self._pool.submit(self._close)
        except RuntimeError:  # the pool is closed
            self._close()


async def _send_all(answer: Answer, steps: _Steps, part: Part | None, send: Send) -> None:
    while part is None:
        part = await steps.run(answer.begin)
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
        part = await steps.run(lambda: answer.read(count))  # noqa: B023  # it is awaited here


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
