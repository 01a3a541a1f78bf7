# SPDX-License-Identifier: Apache-2.0
"""Each case of the suites fails for a backend that does wrong what it looks at."""

import unittest
from typing import Any

import pytest
import testtools

from imageapi.backends.base import Backend, RegistryBackend, StoreBackend
from imageapi.backends.file import FileRegistry, FileStore
from imageapi.policy.visible import VisiblePolicy
from imageapi.testing.policy_suite import PolicySuite
from imageapi.testing.registry_suite import RegistrySuite
from imageapi.testing.store_suite import StoreSuite
from imageapi.testing.suite import BackendSuite, build
from tests.conformance import wrong_backends as wrong
from tests.conformance.test_file import FileRegistrySuite, FileStoreSuite
from tests.conformance.test_memory import MemoryRegistrySuite, MemoryStoreSuite

STORES: list[tuple[type[StoreBackend], str]] = [
    (wrong.ChecksTrue, "check_is_content"),
    (wrong.ChecksAtLength, "check_is_content"),
    (wrong.ClosesOnce, "close_twice"),
    (wrong.OpensInConstructor, "constructor_does_no_io"),
    (wrong.StartsThreadInConstructor, "constructor_does_no_io"),
    (wrong.AsksInConstructor, "constructor_does_no_io"),
    (wrong.ChecksNothing, "check_tells_what_is_wrong"),
    (wrong.ChecksWithToken, "check_tells_what_is_wrong"),
    (wrong.EndsEarly, "reads_the_whole"),
    (wrong.GivesBytearrays, "reads_the_whole"),
    (wrong.GivesStr, "reads_the_whole"),
    (wrong.EndsWithEmptyChunks, "reads_the_whole"),
    (wrong.TakesEmptyForMissing, "reads_empty_data"),
    (wrong.StartsOneLate, "reads_first_and_last_byte"),
    (wrong.StopIsInclusive, "reads_first_and_last_byte"),
    (wrong.RefusesRanges, "reads_first_and_last_byte"),
    (wrong.ReadsRangesAllTheSame, "reads_first_and_last_byte"),
    (wrong.StumblesAtBorders, "reads_ranges_at_borders_of_chunks"),
    (wrong.StopMustBeInside, "stop_past_the_end"),
    (wrong.StartsInside, "start_at_the_end_or_past_it"),
    (wrong.ZeroForUnknown, "total_size_is_of_the_whole"),
    (wrong.SizeOfThePart, "total_size_is_of_the_whole"),
    (wrong.GivesGenerators, "is_its_own_iterator"),
    (wrong.StartsAgain, "stays_at_its_end"),
    (wrong.OneBlobForAll, "blobs_are_independent"),
    (wrong.VersionOfEachOpen, "version_opens_again"),
    (wrong.IgnoresVersion, "wrong_version"),
    (wrong.IgnoresVersionOfParts, "wrong_version"),
    (wrong.IgnoresVersion, "replaced_data"),
    (wrong.RemembersForEver, "replaced_data"),
    (wrong.OpensEachChunk, "replaced_while_it_is_read"),
    (wrong.RemembersForEver, "removed_data"),
    (wrong.OpensLate, "missing_data"),
    (wrong.RaisesKeyError, "missing_data"),
    (wrong.RefusesMissing, "missing_data"),
    (wrong.ComparesSchemeExactly, "schemes"),
    (wrong.IgnoresScheme, "foreign_scheme"),
    (wrong.ParsesCarelessly, "nonsense_locations"),
    (wrong.LocatesInLowerCase, "locate"),
    (wrong.TakesUnreachableForMissing, "upstream_out_of_reach"),
    (wrong.ClosesOnlyWhatWasBegun, "closes_at_any_time"),
    (wrong.ClosesBlobsOnce, "closes_at_any_time"),
    (wrong.LeavesRestInPool, "closes_at_any_time"),
    (wrong.ReadsOnAfterClose, "no_data_after_close"),
    (wrong.RaisesValueErrorAfterClose, "no_data_after_close"),
    (wrong.ClosesOnlyAtTheEnd, "leaves_no_descriptors_open"),
    (wrong.SharesLocation, "ten_threads"),
    (wrong.FailsAfterFork, "after_a_fork"),
    (wrong.DiesAfterFork, "after_a_fork"),
    (wrong.TellsLocations, "shows_no_secret"),
    (wrong.TellsToken, "shows_no_secret"),
]

REGISTRIES: list[tuple[type[RegistryBackend], str]] = [
    (wrong.ForgetsMinRam, "known_record"),
    (wrong.InventsNames, "least_record"),
    (wrong.InventsImages, "unknown_id"),
    (wrong.RaisesLookupError, "unknown_id"),
    (wrong.ReturnsNone, "unknown_id"),
    (wrong.StripsIds, "odd_ids_that_are_unknown"),
    (wrong.IgnoresCase, "odd_ids_that_are_unknown"),
    (wrong.KnowsOnlyAscii, "odd_ids_that_are_unknown"),
    (wrong.CutsIds, "odd_ids_that_are_known"),
    (wrong.RemembersImages, "replaced_record"),
    (wrong.RemembersAbsence, "new_record"),
    (wrong.RemembersImages, "removed_record"),
    (wrong.HidesPrivateImages, "answers_every_caller"),
    (wrong.TakesUnreachableForUnknown, "upstream_out_of_reach"),
    (wrong.LeaksOnUnknown, "leaves_no_descriptors_open"),
    (wrong.SharesId, "ten_threads"),
    (wrong.RegistryFailsAfterFork, "after_a_fork"),
    (wrong.TellsCallersToken, "shows_no_secret"),
]

POLICIES: list[tuple[type[Backend], str]] = [
    (wrong.SaysNone, "answers_a_member"),
    (wrong.SaysOne, "answers_a_member"),
    (wrong.WantsOwner, "answers_a_member"),
    (wrong.WantsUser, "answers_an_anonymous_caller"),
    (wrong.SaysWhyToAdmins, "answers_an_admin"),
    (wrong.AllowsTheUnknown, "unknown_action"),
    (VisiblePolicy, "unknown_action"),
    (wrong.AddsToTarget, "leaves_the_target_alone"),
    (wrong.SaysYesOnce, "answers_the_same_again"),
    (wrong.AllowsWhenUnreachable, "upstream_out_of_reach"),
    (wrong.LeaksOnEachQuestion, "leaves_no_descriptors_open"),
    (wrong.SharesCaller, "ten_threads"),
    (wrong.PolicyFailsAfterFork, "after_a_fork"),
    (wrong.RemembersCaller, "shows_no_secret"),
]


class DenyAllSuite(PolicySuite, mixin=True):
    """For policies made from `DenyAll`."""

    backend_class: type[Any] = wrong.DenyAll

    def make_policy(self) -> Any:
        return build(self.backend_class)

    def make_unreachable(self) -> Any:
        policy = build(self.backend_class)
        policy.reachable = False
        return policy


class TestDenyAll(DenyAllSuite, testtools.TestCase):
    pass


def suite_for(backend: type[Backend]) -> type[BackendSuite]:
    """The suite that tests such a backend."""
    if issubclass(backend, StoreBackend):
        return FileStoreSuite if issubclass(backend, FileStore) else MemoryStoreSuite
    if issubclass(backend, RegistryBackend):
        return FileRegistrySuite if issubclass(backend, FileRegistry) else MemoryRegistrySuite
    return DenyAllSuite


def failures_of(backend: type[Backend], case: str) -> list[str]:
    """Run one case on a backend; the texts of its failures, not of errors."""
    bases = (suite_for(backend), testtools.TestCase)
    suite: Any = type(f"Suite{backend.__name__}", bases, {"backend_class": backend})
    result = testtools.TestResult()
    suite(f"test_{case}").run(result)
    return [text for _, text in result.failures]


@pytest.mark.parametrize(("backend", "case"), [*STORES, *REGISTRIES, *POLICIES])
def test_catches(backend: type[Backend], case: str) -> None:
    assert failures_of(backend, case)


@pytest.mark.parametrize(
    ("suite", "table"), [(StoreSuite, STORES), (RegistrySuite, REGISTRIES), (PolicySuite, POLICIES)]
)
def test_each_case_catches_something(suite: type[BackendSuite], table: Any) -> None:
    # What all suites share is shown by stores.
    shared = set() if suite is StoreSuite else cases_of(BackendSuite)
    assert cases_of(suite) - shared == {f"test_{case}" for _, case in table}


def cases_of(suite: type[BackendSuite]) -> set[str]:
    return {name for name in dir(suite) if name.startswith("test_")}


@pytest.mark.parametrize(
    ("backend", "case", "hint"),
    [
        (wrong.OpensLate, "missing_data", "must raise DataNotFound at once, but returned"),
        (wrong.RaisesKeyError, "missing_data", "raises only the BackendErrors"),
        (wrong.StopIsInclusive, "reads_first_and_last_byte", "were read, not 1"),
        (wrong.FailsAfterFork, "after_a_fork", "open nothing before it is used"),
        (wrong.DiesAfterFork, "after_a_fork", "it died"),
        (wrong.ClosesOnlyAtTheEnd, "leaves_no_descriptors_open", "close each"),
        (wrong.ForgetsMinRam, "known_record", "min_ram is 0, not 256"),
        (wrong.SaysOne, "answers_a_member", "must return True or False, not 1"),
    ],
)
def test_says_what_to_mend(backend: type[Backend], case: str, hint: str) -> None:
    assert hint in failures_of(backend, case)[0]


def test_shows_secrets_to_nobody_itself() -> None:
    assert "suite-token" not in failures_of(wrong.TellsToken, "shows_no_secret")[0]


def test_a_suite_alone_is_not_run() -> None:
    assert not issubclass(StoreSuite, unittest.TestCase)


def test_a_class_that_nobody_would_run_is_refused() -> None:
    with pytest.raises(TypeError, match=r"write class Mine\(SUITE, testtools.TestCase\)"):
        type("Mine", (StoreSuite,), {})


def test_a_class_without_the_setup_is_refused() -> None:
    with pytest.raises(TypeError, match="the suite first"):
        type("Mine", (testtools.TestCase, StoreSuite), {})
