# SPDX-License-Identifier: Apache-2.0
"""What the suite tells its user; tests/conformance has what it finds in wrong stores."""

import itertools
from typing import Any

import pytest

from imageapi.image import Location
from imageapi.testing.fakes import FailingStore
from imageapi.testing.store_suite import StoreSuite
from imageapi.testing.suite import build
from tests.memory import NoRangesStore
from tests.unit.testing.cases import told_by

NUMBERS = itertools.count()


def put_as_number(suite: Any, data: bytes) -> Location:
    location: Location = suite.store.put(f"suite-{next(NUMBERS)}", data)
    return location


def define_store(store: type[FailingStore], **others: Any) -> dict[str, Any]:
    """All that a subclass must define; others replace some."""
    return {
        "make_store": lambda _: build(store),
        "make_unreachable": lambda _: None,
        "put": put_as_number,
        **others,
    }


@pytest.mark.parametrize("case", ["reads_the_whole", "missing_data", "ten_threads"])
def test_right_store(case: str) -> None:
    assert told_by(StoreSuite, case, **define_store(FailingStore)) == ""


@pytest.mark.parametrize("case", ["removed_data", "replaced_data"])
def test_what_cannot_be_tested_is_skipped(case: str) -> None:
    assert told_by(StoreSuite, case, **define_store(FailingStore)) == ""


def test_store_without_ranges_must_say_so() -> None:
    told = told_by(StoreSuite, "reads_first_and_last_byte", **define_store(NoRangesStore))
    assert "if the store reads no ranges, set ranges = False" in told


def test_store_that_says_so_must_refuse_ranges() -> None:
    class TakesRanges(FailingStore):
        ranges = False

    told = told_by(StoreSuite, "reads_first_and_last_byte", **define_store(TakesRanges))
    assert "by a store with ranges = False must raise RangeNotSupported" in told


def test_foreign_scheme_must_be_refused() -> None:
    class OpensAll(FailingStore):
        def open(self, location: Location, **asked: Any) -> Any:
            rest = location.url.rpartition(":")[2]
            return super().open(Location(f"memory:{rest}"), **asked)

    told = told_by(StoreSuite, "foreign_scheme", **define_store(OpensAll))
    assert "open() with a foreign scheme must raise DataNotFound or LocationRefused" in told
