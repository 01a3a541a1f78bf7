# SPDX-License-Identifier: Apache-2.0
import os
import threading
from collections.abc import Iterator

import pytest

from imageapi.backends.swift.workers import Workers


@pytest.fixture
def two_workers() -> Iterator[Workers]:
    workers = Workers(3)
    yield workers
    workers.close()


def test_results_are_in_the_order_of_the_items(two_workers: Workers) -> None:
    assert list(two_workers.each(str, range(50))) == [str(number) for number in range(50)]
    assert list(two_workers.each(str, [])) == []


def test_at_most_so_many_work_at_the_same_time_for_all(two_workers: Workers) -> None:
    lock = threading.Lock()
    now = [0, 0]
    pause = threading.Event()

    def work(_: int) -> None:
        with lock:
            now[0] += 1
            now[1] = max(now)
        pause.wait(0.01)
        with lock:
            now[0] -= 1

    callers = [
        threading.Thread(target=lambda: list(two_workers.each(work, range(10)))) for _ in range(4)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(30)
    assert now == [0, 3]


def test_items_are_taken_only_a_few_ahead(two_workers: Workers) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    results = two_workers.each(str, items())
    assert next(results) == "0"
    assert len(taken) == 6
    results.close()


@pytest.mark.parametrize("ends", ["error", "close"])
def test_what_has_not_begun_is_cancelled(two_workers: Workers, ends: str) -> None:
    done: list[int] = []
    go_on = threading.Event()

    def work(number: int) -> None:
        if number == 0 and ends == "error":
            raise ValueError("0")
        if number > 0:
            go_on.wait(30)
        done.append(number)

    results = two_workers.each(work, range(6))
    if ends == "error":
        with pytest.raises(ValueError, match="0"):
            next(results)
    else:
        next(results)
        results.close()
    go_on.set()
    # This begins after all that was not cancelled.
    assert list(two_workers.each(str, range(6))) == ["0", "1", "2", "3", "4", "5"]
    assert 5 not in done


def test_threads_end_when_closed_and_start_again(two_workers: Workers) -> None:
    before = threading.active_count()
    assert list(two_workers.each(str, [1])) == ["1"]
    two_workers.close()
    assert threading.active_count() == before
    assert list(two_workers.each(str, [2])) == ["2"]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_new_process_has_its_own_threads(two_workers: Workers) -> None:
    assert list(two_workers.each(str, [1])) == ["1"]
    child = os.fork()
    if child == 0:
        works = list(two_workers.each(str, [2])) == ["2"]
        two_workers.close()
        os._exit(0 if works else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
