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


def test_offered_values_are_taken_until_the_cache_has_dropped_one() -> None:
    cache: BoundedCache[int, int] = BoundedCache(10)
    weighed = []

    def weigh(value: int) -> int:
        weighed.append(value)
        return 1

    cache.put(-1, -1, weight=11)
    for number in range(11):
        cache.offer(number, number, weigh)
    assert weighed == list(range(11))
    for number in range(11, 11 + 8):
        cache.offer(number, number, weigh)
    assert len(weighed) == 12
    cache.offer(weighed[-1], -1, weigh)
    assert cache.get(weighed[-2]) == -1  # the value before is not the value of now


def test_value_that_is_offered_again_and_again_is_taken() -> None:
    cache: BoundedCache[str, int] = BoundedCache(3)
    for number in range(40):
        cache.put(str(number), number)
    for _ in range(16):
        for name in ("a", "b"):
            if cache.get(name) is None:
                cache.offer(name, 1, lambda _: 1)
    assert (cache.get("a"), cache.get("b")) == (1, 1)


def test_many_threads() -> None:
    cache: BoundedCache[int, int] = BoundedCache(50)
    wrong: list[object] = []

    def work(start: int) -> None:
        try:
            for number in range(start, start + 3000):
                cache.put(number % 90, number % 90)
                cache.offer(number % 80, number % 80, lambda _: 1)
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
