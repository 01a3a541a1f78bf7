# SPDX-License-Identifier: Apache-2.0
import asyncio
import contextvars
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from imageapi.asgi.threads import Pool, PoolClosed
from imageapi.events.base import Load


@pytest.fixture
def pool_of_three() -> Iterator[Pool]:
    pool = Pool(3)
    yield pool
    pool.close()


def test_outcomes(pool_of_three: Pool) -> None:
    def fails() -> None:
        raise ZeroDivisionError

    async def ask() -> list[object]:
        works: list[Callable[[], object]] = [partial(int, "7"), fails, threading.get_ident]
        return await asyncio.gather(
            *(pool_of_three.run(work) for work in works), return_exceptions=True
        )

    seven, error, thread = asyncio.run(ask())
    assert seven == 7
    assert isinstance(error, ZeroDivisionError)
    assert thread != threading.get_ident()


def test_work_has_the_context_of_its_caller(pool_of_three: Pool) -> None:
    variable = contextvars.ContextVar("variable", default="unset")

    async def ask(value: str) -> str:
        variable.set(value)
        return await pool_of_three.run(variable.get)

    async def both() -> list[str]:
        found = await asyncio.gather(ask("first"), ask("second"))
        return [*found, await pool_of_three.run(variable.get)]

    assert asyncio.run(both()) == ["first", "second", "unset"]


def test_work_that_blocks_keeps_no_other_waiting(pool_of_three: Pool) -> None:
    release = threading.Event()

    async def ask() -> None:
        blocked = [pool_of_three.run(partial(release.wait, 60)) for _ in range(2)]
        # The third thread.
        assert await asyncio.wait_for(pool_of_three.run(lambda: 7), 60) == 7
        assert not any(one.done() for one in blocked)
        release.set()
        assert await asyncio.gather(*blocked) == [True, True]

    asyncio.run(ask())


def test_threads_are_bounded(pool_of_three: Pool) -> None:
    release = threading.Event()
    lock, running, most = threading.Lock(), 0, 0

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        if most == 3:
            release.set()
        assert release.wait(60), "not as many run as there may be"
        with lock:
            running -= 1

    async def ask() -> None:
        await asyncio.wait_for(asyncio.gather(*(pool_of_three.run(work) for _ in range(50))), 60)

    asyncio.run(ask())
    assert most == 3


def test_work_of_a_loop_that_has_ended_goes_on(pool_of_three: Pool) -> None:
    release, done = threading.Event(), threading.Event()

    def work() -> None:
        assert release.wait(60)
        done.set()

    async def ask() -> None:
        for _ in range(9):  # more than there are threads
            pool_of_three.run(work).cancel()

    asyncio.run(ask())
    release.set()
    assert done.wait(60)
    # The pool also serves another event loop.
    assert asyncio.run(_seven(pool_of_three)) == 7


async def _seven(pool: Pool) -> int:
    return await pool.run(lambda: 7)


def test_what_waits_is_run_before_the_end(pool_of_three: Pool) -> None:
    release = threading.Event()

    async def ask() -> list[bool]:
        asked = [pool_of_three.run(partial(release.wait, 60)) for _ in range(9)]
        closing = asyncio.ensure_future(asyncio.to_thread(pool_of_three.close))
        await asyncio.sleep(0)
        release.set()
        await closing
        return await asyncio.gather(*asked)

    assert asyncio.run(ask()) == [True] * 9
    with pytest.raises(PoolClosed, match="shutdown"):
        asyncio.run(_seven(pool_of_three))


def test_interpreter_ends_though_the_pool_was_not_closed() -> None:
    code = """
import asyncio
from imageapi.asgi.threads import Pool
pool = Pool(2)
async def ask():
    print(await pool.run(lambda: 7))
asyncio.run(ask())
"""
    ended = subprocess.run([sys.executable, "-c", code], timeout=60, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "7\n", "")


def test_work_that_is_cancelled_before_it_begins_waits_no_longer() -> None:
    async def exchange() -> None:
        pool = Pool(1)
        begun, may_end = threading.Event(), threading.Event()

        def work() -> None:
            begun.set()
            may_end.wait(60)

        running = pool.run(work)
        queued = pool.run(work)
        await asyncio.to_thread(begun.wait, 60)
        assert pool.load() == Load(busy=1, waiting=1)
        queued.cancel()
        await asyncio.sleep(0)
        assert pool.load() == Load(busy=1, waiting=0)
        may_end.set()
        await running
        pool.close()
        assert pool.load() == Load(busy=0, waiting=0)

    asyncio.run(exchange())
