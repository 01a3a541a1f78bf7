# SPDX-License-Identifier: Apache-2.0
"""Test cases for every registry that lists images (see `imageapi.testing.suite`).

A subclass of `ListSuite` defines the same methods as one of `RegistrySuite`, and if
possible `put_malformed`.  One class can have both suites::

    class TestMyRegistry(ListSuite, RegistrySuite, testtools.TestCase):
        ...
"""

import itertools
import threading
import tracemalloc
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from imageapi.backends.listing import SORT_KEYS, ListQuery
from imageapi.errors import BackendError
from imageapi.image import Image
from imageapi.testing.list_filter_cases import FilterCases
from imageapi.testing.list_hooks import asked, both_ways, day, public

# What a list does not show: an upstream's list need not have it.
_NOT_LISTED = frozenset({"locations", "os_hash_algo", "os_hash_value", "unknown_keys"})
# What the core does not need if the registry decides who may know of an image.
_OF_VISIBILITY = frozenset({"members"})
# In the order of their code points.  In UTF-16, in a locale, or in one letter case, it is another.
_TEXTS = (
    *("%", "10", "9", "Z", "a", "a b", "b", "e\N{COMBINING ACUTE ACCENT}", "z"),
    *("\N{LATIN CAPITAL LETTER U WITH DIAERESIS}", "\N{LATIN SMALL LETTER E WITH ACUTE}"),
    *("\N{FULLWIDTH LATIN SMALL LETTER A}", "\N{GRINNING FACE}"),
)
_FEW = 10
# Bytes of all documents together, and how many of them may be in memory at a time.
_ALL_BYTES = 48 * 2**20
_BOUND = _ALL_BYTES // 2


class ListSuite(FilterCases, mixin=True):
    """The methods that the author defines are those of `ListHooks`.

    :ivar registry: the registry that `make_registry` created for this case.
    """

    def test_list_is_announced(self) -> None:
        can_list = self.registry.can_list
        try:
            with closing(self.registry.list(ListQuery(), self.caller)) as images:
                next(images, None)
            works = True
        except Exception as error:
            works = not isinstance(error, NotImplementedError)
        self.must(
            works or not can_list,
            "can_list is True, but list() raised NotImplementedError:"
            " define list(), or set can_list = False",
        )
        self.must(
            can_list or not works,
            "can_list is False, but list() is defined: set can_list = True,"
            " or the API answers each list with 404",
        )

    def test_list_of_no_images(self) -> None:
        self.lists(ListQuery(), "make_registry() must create a registry without images")

    def test_list_yields_records(self) -> None:
        full = [replace(self.variant(f"list-full-{n}", n), is_public=True) for n in range(2)]
        held = self.hold(*full, public("list-usual"))
        decides = self.registry.decides_visibility
        but = _NOT_LISTED | (_OF_VISIBILITY if decides else frozenset())
        got = {one.id: one for one in self.taken(ListQuery())}
        for image in held:
            self.must(image.id in got, f"list() must yield {image.id}")
            self.same(image, got[image.id], f"list(), for {image.id},", but)

    # Order.

    def test_list_by_each_key(self) -> None:
        statuses = ("active", "deactivated", "importing", "queued", "saving")
        self.hold(
            *(
                public(
                    f"list-{n}",
                    name="vwxyz"[2 * n % 5],
                    status=statuses[3 * n % 5],
                    container_format="vwxyz"[4 * n % 5],
                    disk_format="vwxyz"[(2 * n + 1) % 5],
                    size=9 + (3 * n + 1) % 5,
                    created_at=day((4 * n + 2) % 5),
                    updated_at=day((n + 2) % 5),
                )
                for n in range(5)
            )
        )
        for key in SORT_KEYS:
            for query in both_ways(sort_key=key):
                self.lists(query, "sort by sort_key; with descending, the highest value is first")

    def test_list_with_equal_values(self) -> None:
        self.hold(
            public("list-c", created_at=day(1)),
            public("list-a", created_at=day(1)),
            public("list-b", created_at=day(1)),
            public("list-d", created_at=day(0)),
            public("list-e", created_at=day(2)),
            public("list-z", created_at=None),
            public("list-other", name="other", created_at=day(1), updated_at=day(1), size=9),
        )
        for key in SORT_KEYS:
            for query in both_ways(sort_key=key):
                mend = "sort equal values by created_at, then by id, both in the list's direction"
                self.lists(query, mend)

    def test_list_with_missing_values(self) -> None:
        images = [
            public("list-usual"),
            public("list-empty-name", name=""),
            public("list-0", size=0),
        ]
        for key in ("name", "disk_format", "container_format", "size", "created_at", "updated_at"):
            none: dict[str, Any] = {key: None}
            images.append(public(f"list-no-{key}", **none))
        images = self.hold(*images)
        for key in SORT_KEYS:
            for query in both_ways(sort_key=key):
                mend = 'a missing value is lower than all others, also than "" and 0'
                self.lists(query, mend)
                for image in images:
                    self.lists(replace(query, after=image), mend)

    def test_list_with_texts_by_code_point(self) -> None:
        numbers = (5 * n % len(_TEXTS) for n in range(len(_TEXTS)))
        self.hold(*(public(f"list-{n}", name=_TEXTS[n], disk_format=_TEXTS[n]) for n in numbers))
        for key in ("name", "disk_format"):
            for query in both_ways(sort_key=key):
                self.lists(query, f"compare {key} by code point, in no locale and no letter case")

    def test_list_with_times_of_any_zone(self) -> None:
        naive, aware = datetime(2010, 2, 4, 9, 34, 1), day(1)
        self.hold(
            public("list-a", created_at=naive, updated_at=aware),
            public("list-b", created_at=aware, updated_at=naive),
            public("list-c", created_at=day(0), updated_at=day(2)),
        )
        for key in ("created_at", "updated_at"):
            for query in both_ways(sort_key=key):
                self.lists(query, "compare times in UTC; a time without a zone is in UTC")

    # Pages.

    def walkable(self) -> list[Image]:
        """Put images of which some have equal values."""
        return self.hold(
            *(public(f"list-{n}", name="ab"[n % 2], created_at=day(n // 3)) for n in range(7))
        )

    def test_list_after_an_image(self) -> None:
        images = self.walkable()
        for key in SORT_KEYS:
            for query in both_ways(sort_key=key):
                for image in images:
                    mend = "begin after the position of `after`, without that image"
                    self.lists(replace(query, after=image), mend)

    def test_list_after_an_image_that_is_not_in_it(self) -> None:
        self.walkable()
        middle: dict[str, Any] = {"created_at": day(1)}
        others = self.hold(
            public("list-3-other", name="other", **middle),
            public("list-3-hidden", is_public=False, owner="x", **middle),
            public("list-3-killed", status="killed", **middle),
        )
        for image in others:
            for query in both_ways(texts={"name": frozenset("ab")}, after=image):
                mend = "begin after the position of `after`, even if the list lacks that image"
                self.lists(query, mend)

    def test_list_after_an_image_that_is_removed(self) -> None:
        marker = self.walkable()[3]
        self.drop(marker.id)
        for query in both_ways(after=marker):
            taken = self.tried(asked(query), partial(self.ids_of, query))
            if not isinstance(taken, BackendError):
                mend = "begin after the position of `after`, even if that image is removed"
                self.are(self.wanted(query), taken, asked(query), mend, may_lack=False)

    def ids_of(self, query: ListQuery) -> list[str]:
        """Return the ids of a list, which may fail."""
        with closing(self.begun(query)) as images:
            return [image.id for image in images]

    def test_list_is_longer_than_its_limit(self) -> None:
        self.walkable()
        for limit in (1, 2, 3, 100):
            for query in both_ways(limit=limit):
                self.lists(query, "the list goes on after `limit` images, which is only a hint")

    def test_list_in_pages_that_change(self) -> None:
        stay, go = ([f"list-{n:02}-{what}" for n in range(12)] for what in ("stays", "goes"))
        for key, descending in (("created_at", True), ("name", False), ("id", False)):
            for n, (one, other) in enumerate(zip(stay, go, strict=True)):
                values: dict[str, Any] = {"name": "abc"[n % 3], "created_at": day(n // 4)}
                self.hold(public(one, **values), public(other, **values))
            going = iter([*go[::2], *go[1::2]])
            numbers = itertools.count()

            def change(last: Image, going: Any = going, numbers: Any = numbers) -> None:
                for image_id in itertools.islice(going, 2):
                    if image_id != last.id:
                        self.drop(image_id)
                n = next(numbers)
                if n < _FEW:
                    self.hold(
                        public(f"list-{n:02}-comes", name="abc"[n % 3], created_at=day(n // 3))
                    )

            query = ListQuery(sort_key=key, descending=descending)
            wanted = [image_id for image_id in self.wanted(query) if image_id in stay]
            got = [image_id for image_id in self.walk(query, 4, change) if image_id in stay]
            mend = "a page begins after the position of `after`, however many images came or went"
            self.are(wanted, got, f"all pages of {asked(query)}", mend, may_lack=False)

    # Changes, faults, and what stays open.

    def test_list_follows_changes(self) -> None:
        mend = "show each change of a record at once"
        query = ListQuery(sort_key="name", descending=False)
        self.hold(public("list-a", name="a"), public("list-b", name="b"))
        self.lists(query, mend)
        self.hold(public("list-c", name="aa"))
        self.lists(query, mend)
        self.hold(public("list-a", name="z"))
        self.lists(query, mend)
        self.hold(public("list-b", is_public=False, owner="x"))
        self.lists(query, mend)
        self.drop("list-c")
        self.lists(query, mend)

    def test_list_leaves_out_malformed_records(self) -> None:
        # One before, and one after all others, by its id and in the order of put().
        self.put_malformed("a-malformed")
        self.walkable()
        self.put_malformed("z-malformed")
        lines = self.logged()
        for query in both_ways(sort_key="id"):
            self.lists(query, "leave out a malformed record; yield all others")
        self.must(bool(lines), "list() must log a warning when it leaves out a malformed record")

    def test_list_of_an_upstream_out_of_reach(self) -> None:
        registry = self.make_unreachable()
        if registry is not None:
            self.closed_later(registry)
            self.needs_lists(registry)

            def take() -> object:
                with closing(registry.list(ListQuery(), self.caller)) as images:
                    return next(images, None)

            self.out_of_reach("list()", take)

    def test_list_two_at_once(self) -> None:
        self.walkable()
        query = ListQuery(descending=False)
        with closing(self.begun(query)) as one, closing(self.begun(query)) as other:
            pairs = self.works("two lists by turns", lambda: list(zip(one, other, strict=True)))
        for got in zip(*pairs, strict=True):
            ids = [image.id for image in got]
            mend = "two generators must share nothing that changes"
            self.are(self.wanted(query), ids, "each of two lists by turns", mend, may_lack=False)

    def test_list_closed_early_leaves_nothing_open(self) -> None:
        self.walkable()
        before = frozenset(threading.enumerate())
        query = ListQuery()
        self.leaks_nothing("list(), closed after three images,", lambda: self.taken(query, 3))
        left = len(_threads_since(before))
        self.must(
            left < _FEW,
            f"list() 55 times left {left} threads: end them when the generator is closed",
        )
        self.works("close()", self.registry.close)
        ended = self.soon(lambda: not _threads_since(before))
        self.must(ended, "close() left threads of list(): end them")

    def test_list_and_close_leave_nothing_open(self) -> None:
        self.walkable()
        self.closes_all(lambda: self.taken(ListQuery(), 3))

    def test_list_in_two_threads(self) -> None:
        self.hold(public("list-a", name="a"), public("list-b", name="b"))
        mend = "two lists must share nothing that changes"
        queries = (ListQuery(sort_key="name"), ListQuery(sort_key="id", descending=False))
        one, other = (partial(self.lists, query, mend) for query in queries)
        self.interleaved(lambda: (one, other), mend)

    def test_list_in_bounded_memory(self) -> None:
        text = "x" * (_ALL_BYTES // self.many)
        images = (public(f"list-{n}", properties={"text": f"{n}{text}"}) for n in range(self.many))
        if not self.hold(*images):
            self.not_proved(f"can_hold() refuses a record of {len(text)} bytes: raise `many`")
        few = self.peak_of(3)
        total = _ALL_BYTES // 2**20
        mend = f"of {total} MiB of records: yield each image as soon as it is known"
        self.must(few < _BOUND, f"list() had {few // 2**20} MiB in memory at three images, {mend}")
        peak = self.peak_of(None)
        mend = f"of {total} MiB of records: keep none that was yielded"
        self.must(peak < _BOUND, f"list() had {peak // 2**20} MiB in memory at its end, {mend}")

    def peak_of(self, at_most: int | None) -> int:
        """Return how many bytes of memory it takes to look at the first images of a list."""
        tracemalloc.start()
        try:
            with closing(self.begun(ListQuery())) as images:
                for _ in itertools.islice(images, at_most):
                    pass
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    def test_list_in_ten_threads(self) -> None:
        self.walkable()
        hidden = [public("list-hidden", is_public=False, owner="x", size=n) for n in range(5)]
        queries = [query for key in SORT_KEYS for query in both_ways(sort_key=key)]

        def list_all(number: int) -> None:
            for turn in range(5):
                query = queries[(number + turn) % len(queries)]
                self.lists(query, "the same list, alone, was right: lock shared state")
                if number == 0:
                    self.put(hidden[turn])

        self.in_threads(list_all)

    def test_list_after_a_fork(self) -> None:
        self.walkable()
        self.in_child(lambda: self.lists(ListQuery(), "so it must list after a fork too"))


def _threads_since(before: frozenset[threading.Thread]) -> list[threading.Thread]:
    """Return the threads that began later; others may end meanwhile."""
    return [thread for thread in threading.enumerate() if thread not in before]
