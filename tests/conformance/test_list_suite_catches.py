# SPDX-License-Identifier: Apache-2.0
"""Each case of the suite of lists fails, with a message, for a registry with that fault."""

from typing import Any

import pytest
import testtools

from imageapi.testing import suite
from imageapi.testing.list_suite import ListSuite
from imageapi.testing.suite import BackendSuite, build
from tests.conformance import wrong_lists as wrong
from tests.conformance.test_memory import MemoryRegistrySuite

LISTS: list[tuple[type[Any], str, str]] = [
    (wrong.CannotListAfterAll, "is_announced", "but list() raised NotImplementedError"),
    (wrong.ListsInSecret, "is_announced", "but list() is defined: set can_list = True"),
    (wrong.CannotListAfterAll, "of_no_images", "define list(), or set can_list = False"),
    (wrong.ReturnsList, "of_no_images", "must return a generator, not list: write it with yield"),
    (wrong.NeedsFirst, "of_no_images", "raised IndexError: list index out of range; a backend"),
    (wrong.IsNeverEmpty, "of_no_images", "must yield no image, but yielded example"),
    (wrong.YieldsIds, "yields_records", "list() must yield imageapi Images, not str"),
    (wrong.ForgetsMembers, "yields_records", "members is frozenset(), not frozenset("),
    (wrong.YieldsSummaries, "yields_records", "properties is {}, not {"),
    (wrong.ListsPropertiesOfFirst, "yields_records", "properties is mappingproxy({}), not {"),
    (wrong.SortsByCreation, "by_each_key", "sort by sort_key"),
    (wrong.IgnoresDirection, "by_each_key", "with descending, the highest value is first"),
    (wrong.LeavesTies, "with_equal_values", "sort equal values by created_at, then by id"),
    (wrong.BreaksTiesById, "with_equal_values", "sort equal values by created_at, then by id"),
    (wrong.BreaksTiesAscending, "with_equal_values", "both in the list's direction"),
    (wrong.NullsHighest, "with_missing_values", "a missing value is lower than all others"),
    (wrong.EmptyIsNull, "with_missing_values", 'also than "" and 0'),
    (wrong.ZeroIsNull, "with_missing_values", 'also than "" and 0'),
    (wrong.NullMarkerIsEmpty, "with_missing_values", "after=<list-no-name>) must yield"),
    (wrong.IgnoresCaseInOrder, "with_texts_by_code_point", "compare name by code point"),
    (wrong.SortsAsInGermany, "with_texts_by_code_point", "in no locale and no letter case"),
    (wrong.SortsAsUTF16, "with_texts_by_code_point", "compare name by code point"),
    (wrong.ComparesTimesWithZones, "with_times_of_any_zone", "raised TypeError"),
    (wrong.DropsZones, "with_times_of_any_zone", "a time without a zone is in UTC"),
    (wrong.FindsInAnyCase, "with_text", "texts are equal exactly, and letter case counts"),
    (wrong.FindsNullAsEmpty, "with_text", "a missing value equals none of them"),
    (wrong.FindsParts, "with_text", "texts are equal exactly"),
    (wrong.TakesFirstText, "with_text", "list(texts={'name': ['', 'a', 'b']}"),
    (wrong.EmptyFindsAll, "with_text", "texts={'name': []}, descending=False) must yield no image"),
    (wrong.AtLeastMinRam, "with_numbers", "must be equal to the number, not at least"),
    (wrong.IgnoresZero, "with_numbers", "list(numbers={'min_ram': 0}"),
    (wrong.SizeMinExclusive, "with_bounds_of_size", "both bounds are included"),
    (wrong.SizeMaxExclusive, "with_bounds_of_size", "both bounds are included"),
    (wrong.UnknownSizeIsZero, "with_bounds_of_size", "without a size is not within bounds"),
    (wrong.FalseIsNoFilter, "with_flags", "list(protected=False, descending=False) must yield"),
    (wrong.ComparesProperties, "with_properties", "never str()"),
    (wrong.ComparesValues, "with_properties", "compare the text"),
    (wrong.LowersAskedNames, "with_properties", "list(properties={'Key': 'Y'}"),
    (wrong.FieldsAreProperties, "with_properties", "list(properties={'id': 'list-two'}"),
    (
        wrong.LooksAtFirstProperty,
        "with_properties",
        "yield list-two, but yielded list-0, list-two",
    ),
    (wrong.ChangedAtOrAfter, "with_later_changes", "must be later than changed_after"),
    (wrong.NeverChangedIsNew, "with_later_changes", "without one, the image is left out"),
    (wrong.AnyConditionWillDo, "with_all_conditions", "all conditions must hold"),
    (wrong.ListsDeleted, "with_deleted_images", "only with shows_deleted"),
    (wrong.ListsKilled, "with_deleted_images", "only with shows_deleted"),
    (wrong.IgnoresDeletedFlag, "with_deleted_images", "list-flag"),
    (wrong.NeverListsDeleted, "with_deleted_images", "list(all_projects=True, shows_deleted=True"),
    (wrong.ListsPublicOnly, "for_projects", "those that project_id owns"),
    (wrong.ForgetsShared, "for_projects", "those whose members have it"),
    (wrong.EmptyProjectOwns, "for_projects", "project_id='') must yield"),
    (wrong.AdminSeesAll, "for_projects", "without all_projects, list public images"),
    (wrong.IgnoresIsPublic, "for_projects", "is_public and shared_with then choose among them"),
    (wrong.IgnoresSharedWith, "for_projects", "shared_with='m', descending=False) must yield"),
    (wrong.RepeatsMarker, "after_an_image", "without that image"),
    (wrong.ComparesSortKeyOnly, "after_an_image", "begin after the position of `after`"),
    (wrong.SearchesMarker, "after_an_image_that_is_not_in_it", "even if the list lacks that image"),
    (wrong.EndsWithoutMarker, "after_an_image_that_is_not_in_it", "must yield list-"),
    (
        wrong.ForgetsRemovedMarker,
        "after_an_image_that_is_removed",
        "begin after the position of `after`, even if that image is removed",
    ),
    (wrong.EndsAtLimit, "is_longer_than_its_limit", "goes on after `limit` images"),
    (wrong.CountsPages, "in_pages_that_change", "however many images came or went"),
    (wrong.RepeatsMarker, "in_pages_that_change", "the pages never end"),
    (wrong.ListsOldImages, "follows_changes", "show each change of a record at once"),
    (wrong.RemembersOrder, "follows_changes", "show each change of a record at once"),
    (wrong.BreaksAtMalformed, "leaves_out_malformed_records", "but raised MalformedImage: no JSON"),
    (wrong.SaysNothingOfMalformed, "leaves_out_malformed_records", "list() must log a warning"),
    (
        wrong.IsEmptyWhenUnreachable,
        "of_an_upstream_out_of_reach",
        "must raise BackendUnavailable at once, but returned NoneType",
    ),
    (wrong.ListTellsToken, "of_an_upstream_out_of_reach", "shows secret number 0: leave it out"),
    (wrong.HasOneCursor, "two_at_once", "two generators must share nothing that changes"),
    (wrong.LeaksWhenClosed, "closed_early_leaves_nothing_open", "left 50 descriptors open: close"),
    (wrong.LeavesThreads, "closed_early_leaves_nothing_open", "left 55 threads: end them when"),
    (wrong.LeavesThreadAfterClose, "closed_early_leaves_nothing_open", "close() left threads"),
    (wrong.KeepsListConnection, "and_close_leave_nothing_open", "left /dev/null: close what each"),
    (wrong.SharesQuery, "in_two_threads", "two lists must share nothing that changes"),
    (wrong.ReadsAllFirst, "in_bounded_memory", "at three images, of 48 MiB of records: yield each"),
    (wrong.KeepsAll, "in_bounded_memory", "of 48 MiB of records: keep none that was yielded"),
    (wrong.SharesQuery, "in_ten_threads", "alone, was right: lock shared state"),
    (wrong.ListFailsAfterFork, "after_a_fork", "created before a fork, it fails"),
]


class ListingSuite(ListSuite, MemoryRegistrySuite, mixin=True):
    """For registries made from `wrong.Listing`."""

    registry: Any
    backend_class: type[Any] = wrong.Listing
    many = 100

    def make_registry(self) -> Any:
        registry: Any = super().make_registry()
        self.addCleanup(registry.release)
        return registry

    def make_unreachable(self) -> Any:
        registry = build(self.backend_class)
        registry.reachable = False
        return registry

    def put_malformed(self, image_id: str) -> None:
        self.registry.malformed.add(image_id)


class TestListing(ListingSuite, testtools.TestCase):
    pass


class TestRefusesRemovedMarker(ListingSuite, testtools.TestCase):
    backend_class = wrong.RefusesRemovedMarker


@pytest.mark.parametrize(("backend", "case", "hint"), LISTS)
def test_catches(backend: type[Any], case: str, hint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "_PATIENCE", 0.3)
    ((_, told),) = result_of(f"test_list_{case}", backend_class=backend).failures
    assert hint in told
    assert "suite-token" not in told


def test_each_case_catches_something() -> None:
    cases = {name for name in dir(ListSuite) if name.startswith("test_")}
    shared = {name for name in dir(BackendSuite) if name.startswith("test_")}
    assert cases - shared == {f"test_list_{case}" for _, case, _ in LISTS}


def result_of(case: str, **members: Any) -> testtools.TestResult:
    """The result of a case, with other members of the suite."""
    suite: Any = type("Wrong", (ListingSuite, testtools.TestCase), members)
    result = testtools.TestResult()
    suite(case).run(result)
    assert not result.errors
    return result


class CannotList(wrong.Listing):
    can_list = False
    list = wrong.CannotListAfterAll.list


@pytest.mark.parametrize(
    "case", sorted({f"test_list_{case}" for _, case, _ in LISTS} - {"test_list_is_announced"})
)
def test_registry_that_cannot_list_is_not_tested(case: str) -> None:
    result = result_of(case, backend_class=CannotList)
    assert (result.failures, list(result.skip_reasons)) == ([], ["not tested: can_list is False"])


def test_registry_that_cannot_list_says_so() -> None:
    result = result_of("test_list_is_announced", backend_class=CannotList)
    assert (result.failures, result.skip_reasons) == ([], {})


def test_images_that_the_upstream_hides_may_be_missing() -> None:
    members = {"backend_class": wrong.ForgetsShared}
    assert result_of("test_list_for_projects", **members).failures
    decides = type("Decides", (wrong.ForgetsShared,), {"decides_visibility": True})
    assert not result_of("test_list_for_projects", backend_class=decides).failures


def test_images_that_the_upstream_must_hide_may_not_be_added() -> None:
    decides = type("Decides", (wrong.AdminSeesAll,), {"decides_visibility": True})
    assert result_of("test_list_for_projects", backend_class=decides).failures


def test_images_that_cannot_be_put_are_not_wanted() -> None:
    def can_hold(_suite: Any, image: Any) -> bool:
        return image.name is not None

    members = {"can_hold": can_hold, "backend_class": wrong.NullMarkerIsEmpty}
    assert not result_of("test_list_with_missing_values", **members).failures


def test_malformed_records_are_not_tested_without_the_hook() -> None:
    members = {"put_malformed": ListSuite.put_malformed}
    result = result_of("test_list_leaves_out_malformed_records", **members)
    assert list(result.skip_reasons) == ["not proved: define put_malformed(image_id)"]
