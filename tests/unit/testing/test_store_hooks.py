# SPDX-License-Identifier: Apache-2.0
from typing import Any

import pytest
import testtools

from imageapi.image import Location
from imageapi.testing.fakes import FailingStore
from imageapi.testing.store_hooks import StoreHooks, pattern
from imageapi.testing.store_suite import StoreSuite
from imageapi.testing.suite import build
from tests.unit.testing.cases import told_by


@pytest.fixture
def hooks() -> StoreHooks:
    """The helpers for a case, which is not run."""

    class Hooks(StoreHooks, testtools.TestCase):
        def make_store(self) -> FailingStore:
            return build(FailingStore)

        def put(self, data: bytes) -> Location:
            assert isinstance(self.store, FailingStore)
            return self.store.put("i", data)

    hooks = Hooks("test_close_twice")
    hooks.setUp()
    return hooks


def test_pattern_has_no_repeated_parts_and_depends_on_the_salt() -> None:
    data = pattern(4 * 4096)
    parts = {data[start : start + 4096] for start in range(0, len(data), 4096)}
    assert len(parts) == 4
    assert pattern(100) == data[:100]
    assert pattern(100, b"salt") != data[:100]


@pytest.mark.parametrize(
    ("name", "case", "told"),
    [
        ("make_store", "reads_the_whole", "define make_store(): it returns the store under test"),
        ("put", "reads_the_whole", "define put(data): it returns the Location of the data"),
        (
            "make_unreachable",
            "constructor_does_no_io",
            "define make_unreachable(): an unreachable store and a Location, or None",
        ),
    ],
)
def test_what_is_not_defined_is_named(name: str, case: str, told: str) -> None:
    defined: dict[str, Any] = {
        "make_store": lambda _: build(FailingStore),
        "make_unreachable": lambda _: None,
        "put": lambda self, data: self.store.put("i", data),
    }
    del defined[name]
    assert told in told_by(StoreSuite, case, **defined)


@pytest.mark.parametrize(
    ("wanted", "got", "told"),
    [
        (b"data", b"dXta", "must return 4 bytes, but returned 4, and byte 1 is wrong"),
        (b"data", b"da", "must return 4 bytes, but returned 2$"),
    ],
)
def test_same_says_where_data_differs(
    hooks: StoreHooks, wanted: bytes, got: bytes, told: str
) -> None:
    with pytest.raises(AssertionError, match=f"^it {told}"):
        hooks.same(wanted, got, "it")
    hooks.same(wanted, wanted, "it")


@pytest.mark.parametrize(
    ("chunk", "told"),
    [
        (bytearray(b"x"), "exactly of type bytes, not bytearray"),
        (b"", "a chunk must not be empty: raise StopIteration at the end"),
    ],
)
def test_wrong_chunk(hooks: StoreHooks, chunk: object, told: str) -> None:
    with pytest.raises(AssertionError, match=told):
        hooks.is_chunk(chunk)


def test_read_stops_at_too_much_data(hooks: StoreHooks) -> None:
    location = hooks.put(b"data")
    with pytest.raises(AssertionError, match=r"^it must not return more than all 3 bytes"):
        hooks.read(hooks.open(location), 3, "it")
    assert hooks.read(hooks.open(location), 4, "it") == b"data"


def test_put_must_return_a_location(hooks: StoreHooks) -> None:
    with pytest.raises(AssertionError, match="must return a Location, not str"):
        hooks.opened("memory:i")  # type: ignore[arg-type]  # the fault


@pytest.mark.parametrize("made", [("no", "pair"), build(FailingStore)])
def test_make_unreachable_must_return_a_pair(
    hooks: StoreHooks, monkeypatch: pytest.MonkeyPatch, made: object
) -> None:
    monkeypatch.setattr(hooks, "make_unreachable", lambda: made)
    with pytest.raises(AssertionError, match="must return a store and a Location in it, or None"):
        hooks.unreachable()
