# SPDX-License-Identifier: Apache-2.0
from dataclasses import fields
from typing import Any

from imageapi.backends.listing import ListQuery
from imageapi.testing.list_filter_cases import FilterCases

# Order and pages; the other fields are conditions.
NO_CONDITIONS = {"sort_key", "descending", "after", "limit"}


def test_each_condition_has_a_case() -> None:
    """A new condition needs a case, or a registry could ignore it."""
    names = {name for case in vars(FilterCases).values() for name in names_in(case)}
    assert {field.name for field in fields(ListQuery)} - NO_CONDITIONS - names == set()


def names_in(case: object) -> set[str]:
    """The names and texts that a function uses."""
    code = getattr(case, "__code__", None)
    waiting: list[Any] = [code]
    found: set[str] = set()
    while waiting:
        one = waiting.pop()
        if hasattr(one, "co_consts"):
            found.update(one.co_names)
            waiting.extend(one.co_consts)
        elif isinstance(one, tuple):
            waiting.extend(one)
        elif isinstance(one, str):
            found.add(one)
    return found
