# SPDX-License-Identifier: Apache-2.0
from typing import Any

import pytest

from imageapi.errors import BackendUnavailable, LocationRefused
from imageapi.image import Location
from imageapi.testing.fakes import FailingStore, MemoryStore
from imageapi.testing.store_suite import StoreSuite
from imageapi.testing.suite import build
from tests.unit.testing.cases import told_by


def told_by_store(case: str, **members: Any) -> str:
    defined: dict[str, Any] = {
        "make_store": lambda _: build(FailingStore),
        "make_unreachable": lambda _: None,
        "put": lambda suite, data: suite.store.put("i", data),
    }
    return told_by(StoreSuite, case, **defined | members)


def test_ids_that_locate_refuses_are_left_out() -> None:
    class Refusing(MemoryStore):
        def locate(self, image_id: str) -> Location:
            if image_id != "suite":
                raise LocationRefused("an odd id")
            return super().locate(image_id)

    put: list[str] = []

    def put_at(suite: Any, location: Location, data: bytes) -> None:
        put.append(location.url)
        suite.store.put("suite", data)

    members = {"make_store": lambda _: build(Refusing), "put_at": put_at}
    assert told_by_store("similar_ids_share_no_data", **members) == ""
    assert put == ["memory:suite"]


def fail_in_the_middle(suite: Any, _location: Location) -> None:
    suite.store.fail(BackendUnavailable("the disk is broken"), at=5000)


def fail_at_once(suite: Any, _location: Location) -> None:
    suite.store.fail(BackendUnavailable("the disk is broken"))


def fail_with_the_token(suite: Any, _location: Location) -> None:
    suite.store.fail(BackendUnavailable(f"refused {suite.caller.token}"))


@pytest.mark.parametrize("damage", [fail_in_the_middle, fail_at_once])
def test_damage_may_be_noticed_at_any_time(damage: Any) -> None:
    assert told_by_store("damaged_data", damage=damage) == ""


def test_error_of_damaged_data_shows_no_secret() -> None:
    assert "the error of damaged data shows secret" in told_by_store(
        "damaged_data", damage=fail_with_the_token
    )
