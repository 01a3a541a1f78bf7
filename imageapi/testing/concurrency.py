# SPDX-License-Identifier: Apache-2.0
"""Calls backends in threads and processes at once, at chosen moments."""

import os
import select
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from types import FrameType
from typing import NoReturn, TypeAlias

THREADS = 10
# Seconds, after which a thread or child is said to hang, for instance at a lock.
_PATIENCE = 30
# Seconds for which an interrupted function waits; it may hold the lock that the other needs.
_MOMENT = 0.05
_OWN = "imageapi.testing."
_OWN_BACKENDS = "imageapi.testing.fakes"


Act: TypeAlias = Callable[[], object]


def problem_of(act: Act) -> str:
    """Return the traceback of what this raises; empty if it raises nothing."""
    try:
        act()
    except Exception:
        return traceback.format_exc()
    return ""


class Child:
    """A forked child that calls a function, which returns the text of a problem, or ""."""

    def __init__(self, act: Callable[[], str]) -> None:
        self._reading, writing = os.pipe()
        with warnings.catch_warnings():
            # Python warns of forks with threads, but the child uses no thread of the runner.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._pid = os.fork()
        if self._pid == 0:
            _report(writing, act)
        os.close(writing)

    def problem(self, patience: float = _PATIENCE) -> str:
        """Wait for the end of the child, and return the problem; empty if it has none.

        :param patience: in seconds; then the child is killed, and is said to hang.
        """
        try:
            ready, _, _ = select.select([self._reading], [], [], patience)
            told = os.read(self._reading, select.PIPE_BUF).decode(errors="replace") if ready else ""
        finally:
            os.close(self._reading)
            # This does not change the status of a child that has ended.
            os.kill(self._pid, signal.SIGKILL)
            _, status = os.waitpid(self._pid, 0)
        if not ready:
            return "it hangs"
        died_of = f" of {signal.Signals(status & 0x7F).name}" if os.WIFSIGNALED(status) else ""
        return "" if told == "fine" else told or f"it died{died_of}"


def problem_in_threads(act: Callable[[int], object]) -> str:
    """Call this in ten threads at once, with their numbers; return the first problem.

    It runs in a child: an object that only one thread may use can kill the process.
    """
    # The threads of the child end before the patience with the child does.
    return Child(lambda: _in_threads(act)).problem(2 * _PATIENCE)


def _in_threads(act: Callable[[int], object]) -> str:
    barrier = threading.Barrier(THREADS)
    problems: list[str] = []

    def run(number: int) -> None:
        barrier.wait(_PATIENCE)
        problems.append(problem_of(lambda: act(number)))

    # Frequent thread switches reveal code that is not safe in threads.
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(THREADS)]
    end = time.monotonic() + _PATIENCE
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(end - time.monotonic(), 0))
    if len(problems) < THREADS:
        return "a thread hangs: is a lock never released?"
    return next(filter(None, problems), "")


def packages_of(backend: object) -> frozenset[str]:
    """Return the names of the packages in which a backend and its bases are written."""
    return frozenset(base.__module__.partition(".")[0] for base in type(backend).__mro__)


def moments_of(packages: frozenset[str], at_most: int, act: Act) -> Sequence[int]:
    """Call this, and return the numbers of the calls at which `interrupted` is to stop it.

    :param packages: each call that their code makes has a number.  What the suites and
        libraries call is not counted.
    :param at_most: if there are more calls, all of the first and some of the others have a
        number: loops repeat what came before.
    """
    count = _Profile(packages).run(act)
    if count <= at_most:
        return range(1, count + 1)
    first = at_most // 2
    return [*range(1, first + 1), *range(first + 1, count + 1, -(-count // (at_most - first)))]


def interrupted(packages: frozenset[str], moment: int, act: Act, other: Act) -> str:
    """Call ``act``, and within it, in another thread, ``other``; return the first problem.

    Threads are switched at any time, but only seldom where it does harm.  So this stops a
    function just before a certain call, until the other one has ended or waits for a lock.
    """
    problems: list[str] = []
    thread = threading.Thread(target=lambda: problems.append(problem_of(other)), daemon=True)

    def interrupt() -> None:
        thread.start()
        thread.join(_MOMENT)

    problems.append(problem_of(lambda: _Profile(packages, moment, interrupt).run(act)))
    if thread.ident is not None:
        thread.join(_PATIENCE)
        if thread.is_alive():
            return "a thread hangs: is a lock never released?"
    return next(filter(None, problems), "")


def problem_when_interrupted(
    packages: frozenset[str], at_most: int, prepare: Callable[[], tuple[Act, Act]]
) -> str:
    """Interrupt one function by another one at each of its moments, in a child.

    :param packages, at_most: as for `moments_of`.
    :param prepare: returns the two functions, anew for each moment.
    :returns: the text of the first problem; empty if both functions always worked.
    """

    def problem() -> str:
        moments = moments_of(packages, at_most, prepare()[0])
        told = (interrupted(packages, moment, *prepare()) for moment in moments)
        return next(filter(None, told), "")

    return Child(problem).problem(2 * _PATIENCE)


class _Profile:
    """Counts the calls of this thread, and calls a function just before one of them."""

    def __init__(
        self,
        packages: frozenset[str],
        moment: int = 0,
        interrupt: Callable[[], None] | None = None,
    ) -> None:
        self._packages = packages
        self._count = 0
        self._moment = moment
        self._interrupt = interrupt

    def run(self, act: Act) -> int:
        """Call this; return how many calls of backends were counted."""
        before = sys.getprofile()
        sys.setprofile(self._note)
        try:
            act()
        finally:
            sys.setprofile(before)
        return self._count

    def _note(self, frame: FrameType, event: str, _argument: object) -> None:
        if event not in ("call", "c_call"):
            return
        caller = frame if event == "c_call" else frame.f_back
        name = caller.f_globals.get("__name__", "") if caller is not None else ""
        is_suite = name.startswith(_OWN) and name != _OWN_BACKENDS
        if is_suite or name.partition(".")[0] not in self._packages:
            return
        self._count += 1
        if self._count == self._moment and self._interrupt is not None:
            self._interrupt()


def _report(writing: int, act: Callable[[], str]) -> NoReturn:
    """Report the result through a pipe, and end this process."""
    try:
        try:
            text = act() or "fine"
        except BaseException:
            text = traceback.format_exc()
        os.write(writing, text.encode(errors="replace")[-select.PIPE_BUF :])
    finally:
        # Not sys.exit(): the runner would finish the tests a second time.
        os._exit(0)
