# SPDX-License-Identifier: Apache-2.0
import pytest

from imageapi.backends.listing import ListQuery
from imageapi.testing.list_hooks import asked, both_ways, day, public


@pytest.mark.parametrize(
    ("query", "call"),
    [
        (ListQuery(), "list()"),
        (ListQuery(descending=False, after=public("i")), "list(descending=False, after=<i>)"),
        (ListQuery(texts={"name": frozenset("ba")}), "list(texts={'name': ['a', 'b']})"),
        (ListQuery(size_min=0, limit=3), "list(size_min=0, limit=3)"),
    ],
)
def test_message_shows_what_is_not_usual(query: ListQuery, call: str) -> None:
    assert asked(query) == call


def test_both_directions() -> None:
    assert [query.descending for query in both_ways(size_max=1)] == [False, True]
    assert all(query.size_max == 1 for query in both_ways(size_max=1))


def test_images_have_all_that_lists_sort_by() -> None:
    image = public("i", size=None)
    assert (image.id, image.size, image.is_public) == ("i", None, True)
    assert day(1) > day(0) == image.created_at
