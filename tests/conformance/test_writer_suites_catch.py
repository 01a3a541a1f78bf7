# SPDX-License-Identifier: Apache-2.0
"""Each case of the suites for writers fails, with a message, for a writer with that fault."""

from typing import Any

import pytest
import testtools

from imageapi.image import Location
from imageapi.testing.data_writer_suite import DataWriterSuite
from imageapi.testing.record_writer_suite import RecordWriterSuite
from imageapi.testing.suite import BackendSuite, build
from tests.conformance import wrong_writers as wrong
from tests.conformance.test_memory import MemoryRegistrySuite, MemoryStoreSuite

RECORDS: list[tuple[Any, str, str]] = [
    (lambda *_: None, "creates_a_record", "must return a RecordWriter, not NoneType"),
    (
        wrong.CreatesWithoutMembers,
        "creates_a_record",
        "after create() must return the record as it was",
    ),
    (wrong.Overwrites, "creates_no_record_twice", "must raise WriteError, but returned NoneType"),
    (wrong.RaisesFileExists, "creates_no_record_twice", "raised FileExistsError"),
    (
        wrong.ReadsNothing,
        "reads_only_records_that_exist",
        "of an unknown image must raise ImageNotFound, but returned bytes",
    ),
    (wrong.Merges, "replaces_a_record", "after replace() must return the record as it was put"),
    (
        wrong.ComparesNothing,
        "replaces_only_what_is_unchanged",
        "replace() of a changed record (first compare the record with `old`) must raise WriteError",
    ),
    (wrong.RemovesAlike, "removes_a_record", "after another record was removed"),
    (
        wrong.ComparesNothingAtRemove,
        "removes_only_what_is_unchanged",
        "remove() of a changed record (first compare the record with `old`) must raise WriteError",
    ),
    (wrong.WritesLowerCase, "takes_no_ids_for_the_same", "create('SUITE', ...) must work here"),
    (
        wrong.LooksBeforeItCreates,
        "creates_once_in_two_threads",
        "in two threads must work only once: create it exclusively",
    ),
    (wrong.LeaksAtEachRecord, "leaves_nothing_open", "left 50 descriptors open: close each"),
    (wrong.LeavesTemporary, "leaves_nothing_open", "left 1 temporary things: remove them"),
    (
        wrong.FindsNoRecordsWhenUnreachable,
        "of_an_upstream_out_of_reach",
        "must not say that the record is missing",
    ),
]

DATA: list[tuple[Any, str, str]] = [
    (lambda *_: None, "puts_data", "must return a DataWriter, not NoneType"),
    (wrong.PutsOneChunk, "puts_data", "put() must read the data to its end, but read 1000 of 4096"),
    (
        wrong.KeepsDataAlways,
        "removes_what_is_not_kept",
        "(remove it in close() of NewData) must raise",
    ),
    (wrong.OverwritesData, "keeps_data_that_exists", "after a second put() for the image"),
    (
        wrong.ReplacesInPlace,
        "puts_replacements_elsewhere",
        "put() with is_replacement=True must write to a new place",
    ),
    (wrong.PutsInLowerCase, "takes_no_ids_for_the_same", "after data of similar ids was put"),
    (
        wrong.WritesAsItReads,
        "leaves_nothing_if_the_source_fails",
        "where a put() was stopped by OSError must raise DataNotFound",
    ),
    (
        wrong.LeavesPartsBehind,
        "leaves_nothing_if_the_source_fails",
        "put() that was stopped left suite/part: remove what was written, also at a BaseException",
    ),
    (wrong.OwnsByPrefix, "owns_what_it_put", "owns() must be False for data of another image"),
    (wrong.OwnsOnlyFirst, "owns_what_it_put", "owns() must be True for what put() wrote"),
    (wrong.OwnsNoOddURLs, "owns_what_it_put", "owns() must work here, but raised LocationRefused"),
    (wrong.RemovesOnce, "removes_data", "remove() of data that is gone must work here"),
    (wrong.RemovesAllOfImage, "removes_data", "after the data that it replaces was removed"),
    (wrong.FindsNoLeftovers, "finds_leftovers", "leftovers() must find data that no record uses"),
    (wrong.TakesAllForLeftovers, "finds_leftovers", "a leftover's location is of other data"),
    (
        wrong.FindsDataThatWasNotLeft,
        "finds_first_data_without_a_record",
        "left_behind() must be None if nothing was put",
    ),
    (
        wrong.LooksBeforeItPuts,
        "puts_once_in_two_threads",
        "must not write to the same place: create it exclusively",
    ),
    (wrong.LeaksAtEachPut, "leaves_nothing_open", "put() 50 times left 50 descriptors open"),
    (
        wrong.RaisesOSError,
        "of_an_upstream_out_of_reach",
        "raised ConnectionRefusedError: [Errno 111] refused; a backend raises only",
    ),
]


class WrittenRegistrySuite(RecordWriterSuite, MemoryRegistrySuite, mixin=True):
    """For registries made from `wrong.WrittenRegistry`."""

    registry: Any
    backend_class: type[Any] = wrong.WrittenRegistry

    def make_unreachable(self) -> Any:
        registry = build(self.backend_class)
        registry.reachable = False
        return registry


class WrittenStoreSuite(DataWriterSuite, MemoryStoreSuite, mixin=True):
    """For stores made from `wrong.WrittenStore`."""

    store: Any
    backend_class: type[Any] = wrong.WrittenStore

    def make_unreachable(self) -> Any:
        store = build(self.backend_class)
        store.reachable = False
        return store, Location("memory:x")


class TestWrittenRegistry(WrittenRegistrySuite, testtools.TestCase):
    pass


class TestWrittenStore(WrittenStoreSuite, testtools.TestCase):
    pass


def failures_of_writer(suite: Any, written_by: Any, case: str) -> list[str]:
    backend = type("Written", (suite.backend_class,), {"written_by": written_by})
    tested: Any = type("Wrong", (suite, testtools.TestCase), {"backend_class": backend})
    result = testtools.TestResult()
    tested(f"test_writer_{case}").run(result)
    assert not result.errors
    return [text for _, text in result.failures]


@pytest.mark.parametrize(("written_by", "case", "hint"), RECORDS)
def test_wrong_writer_of_records_is_caught(written_by: Any, case: str, hint: str) -> None:
    (told,) = failures_of_writer(WrittenRegistrySuite, written_by, case)
    assert hint in told


@pytest.mark.parametrize(("written_by", "case", "hint"), DATA)
def test_wrong_writer_of_data_is_caught(written_by: Any, case: str, hint: str) -> None:
    (told,) = failures_of_writer(WrittenStoreSuite, written_by, case)
    assert hint in told


@pytest.mark.parametrize(
    ("suite", "table"), [(RecordWriterSuite, RECORDS), (DataWriterSuite, DATA)]
)
def test_each_case_catches_a_writer(suite: type[BackendSuite], table: Any) -> None:
    cases = {name for name in dir(suite) if name.startswith("test_writer_")}
    assert cases == {f"test_writer_{case}" for _, case, _ in table}
