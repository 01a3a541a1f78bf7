# SPDX-License-Identifier: Apache-2.0
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from imageapi.backends import index_lock
from imageapi.backends.index_lock import MOST_PATIENT, IndexLock
from imageapi.errors import BackendUnavailable


def entered(lock: IndexLock) -> str:
    try:
        with lock:
            pass
    except BackendUnavailable:
        return "refused"
    return "entered"


def test_few_threads_wait_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_lock, "WAIT_SECONDS", 0.01)
    lock = IndexLock()
    refused = threading.Semaphore(0)

    def count(result: str) -> None:
        if result == "refused":
            refused.release()

    with ThreadPoolExecutor(20) as threads:
        with lock:
            results = [threads.submit(entered, lock) for _ in range(20)]
            for result in results:
                result.add_done_callback(lambda future: count(future.result()))
            for _ in range(20 - MOST_PATIENT):
                assert refused.acquire(timeout=30)
        assert sorted(result.result() for result in results).count("entered") == MOST_PATIENT


@pytest.mark.parametrize("has_index", [False, True])
def test_all_threads_wait_for_a_short_time(
    monkeypatch: pytest.MonkeyPatch, has_index: bool
) -> None:
    if has_index:
        monkeypatch.setattr(index_lock, "WAIT_SECONDS", 0)
    lock = IndexLock()
    lock.has_index = has_index
    with ThreadPoolExecutor(20) as threads:
        with lock:
            results = [threads.submit(entered, lock) for _ in range(20)]
        assert {result.result() for result in results} == {"entered"}


def test_the_lock_is_free_after_an_error() -> None:
    lock = IndexLock()
    with pytest.raises(ValueError, match="x"), lock:
        raise ValueError("x")
    assert entered(lock) == "entered"
