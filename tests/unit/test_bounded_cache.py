# SPDX-License-Identifier: Apache-2.0
import threading

from imageapi.bounded_cache import BoundedCache


def test_value_is_remembered_until_it_is_replaced_or_forgotten() -> None:
    cache: BoundedCache[str, int] = BoundedCache(10)
    cache.put("a", 1)
    cache.put("a", 2)
    assert cache.get("a") == 2
    cache.forget("a")
    cache.forget("a")
    assert cache.get("a") is None


def test_oldest_values_go_first_when_all_together_are_too_heavy() -> None:
    cache: BoundedCache[int, int] = BoundedCache(10)
    for number in range(20):
        cache.put(number, number, weight=3)
    assert [number for number in range(20) if cache.get(number) is not None] == [17, 18, 19]


def test_value_that_is_heavier_than_the_cache_is_not_remembered() -> None:
    cache: BoundedCache[str, int] = BoundedCache(10)
    cache.put("other", 1)
    cache.put("a", 1)
    cache.put("a", 2, weight=11)
    # The value before is not the value of now.
    assert cache.get("a") is None
    assert cache.get("other") == 1


def test_many_threads() -> None:
    cache: BoundedCache[int, int] = BoundedCache(50)
    wrong: list[object] = []

    def work(start: int) -> None:
        try:
            for number in range(start, start + 3000):
                cache.put(number % 90, number % 90)
                if cache.get(number % 70) not in (None, number % 70):
                    wrong.append(number)
                cache.forget(number % 50)
        except (KeyError, RuntimeError) as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
