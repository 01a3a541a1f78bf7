# SPDX-License-Identifier: Apache-2.0
import os
import signal
import threading
import time
from functools import partial

import pytest

from imageapi.testing import concurrency
from imageapi.testing.concurrency import (
    Act,
    Child,
    interrupted,
    moments_of,
    packages_of,
    problem_in_threads,
    problem_when_interrupted,
)
from imageapi.testing.fakes import MemoryStore
from imageapi.testing.suite import build

HERE = frozenset({__name__.partition(".")[0]})


def _sleep_for_ever() -> str:
    time.sleep(1000)
    return ""


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (lambda: "", ""),
        (lambda: "a problem", "a problem"),
        (lambda: str(1 / 0), "ZeroDivisionError"),
        (lambda: os._exit(3), "it died"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "it died of SIGKILL"),
    ],
)
def test_child_reports_its_problem(act: object, told: str) -> None:
    problem = Child(act).problem()  # type: ignore[arg-type]  # some never return
    assert told in problem
    assert bool(told) == bool(problem)


def test_child_that_hangs_is_killed() -> None:
    child = Child(_sleep_for_ever)
    assert child.problem(patience=0.2) == "it hangs"
    # Not any child: the servers of other tests may be children of this process too.
    with pytest.raises(ChildProcessError):
        os.waitpid(child._pid, os.WNOHANG)


def test_problem_of_one_thread_is_returned() -> None:
    def fail(number: int) -> None:
        if number == 7:
            raise ValueError("seven")

    assert "ValueError: seven" in problem_in_threads(fail)
    assert problem_in_threads(lambda _: None) == ""


def test_thread_that_hangs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(concurrency, "_PATIENCE", 0.2)
    problem = problem_in_threads(lambda number: _sleep_for_ever() if number == 3 else None)
    assert problem == "a thread hangs: is a lock never released?"


class Steps:
    """Has one moment at which another thread does harm, between two calls."""

    def __init__(self) -> None:
        self.value = 0

    def run(self, value: int) -> None:
        self.value = abs(value)
        len("")
        if self.value != value:
            raise ValueError("disturbed")


def test_moments_are_calls_of_the_packages() -> None:
    steps = Steps()
    # run() itself, abs() and len().
    assert moments_of(HERE, 100, lambda: steps.run(1)) == range(1, 4)
    for at_most, numbers in ((1, [1]), (2, [1, 2]), (3, [1, 2, 3])):
        assert list(moments_of(HERE, at_most, lambda: steps.run(1))) == numbers
    assert moments_of(frozenset({"elsewhere"}), 100, lambda: steps.run(1)) == range(1, 1)


def test_each_moment_is_interrupted() -> None:
    steps = Steps()
    told = [
        interrupted(HERE, moment, lambda: steps.run(1), lambda: steps.run(2))
        for moment in moments_of(HERE, 100, lambda: steps.run(1))
    ]
    assert ["disturbed" in problem for problem in told] == [False, False, True]


def test_first_problem_of_all_moments_is_returned() -> None:
    prepared: list[Steps] = []

    def prepare(value: int) -> tuple[Act, Act]:
        prepared.append(Steps())
        return partial(prepared[-1].run, 1), partial(prepared[-1].run, value)

    assert problem_when_interrupted(HERE, 100, lambda: prepare(1)) == ""
    assert "disturbed" in problem_when_interrupted(HERE, 100, lambda: prepare(2))
    # All is in a child.
    assert prepared == []


def test_other_thread_that_needs_a_lock_of_the_first_ends_later() -> None:
    lock, ended = threading.Lock(), []

    def act() -> None:
        with lock:
            len("")

    def other() -> None:
        with lock:
            ended.append(True)

    moments = moments_of(HERE, 100, act)
    assert [interrupted(HERE, moment, act, other) for moment in moments] == [""] * len(moments)
    assert len(ended) == len(moments)


def test_problem_of_the_other_thread_is_returned() -> None:
    assert "ZeroDivisionError" in interrupted(HERE, 1, lambda: len(""), lambda: 1 // 0)


def test_other_thread_that_hangs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(concurrency, "_PATIENCE", 0.2)
    told = interrupted(HERE, 1, lambda: len(""), _sleep_for_ever)
    assert told == "a thread hangs: is a lock never released?"


def test_packages_of_a_backend_are_those_of_its_bases() -> None:
    assert {"imageapi", "builtins"} <= packages_of(build(MemoryStore))
