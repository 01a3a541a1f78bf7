# SPDX-License-Identifier: Apache-2.0
"""What the suite tells its user; tests/conformance has what it finds in wrong registries."""

from typing import Any

import pytest

from imageapi.image import Image
from imageapi.testing.fakes import MemoryRegistry
from imageapi.testing.registry_suite import RegistrySuite
from imageapi.testing.suite import build
from tests.unit.testing.cases import told_by


def define_all(**others: Any) -> dict[str, Any]:
    """All that a subclass must define; others replace some."""
    return {
        "make_registry": lambda _: build(MemoryRegistry),
        "make_unreachable": lambda _: None,
        "put": lambda self, image: self.registry.put(image),
        **others,
    }


@pytest.mark.parametrize(
    ("name", "case", "told"),
    [
        ("make_registry", "known_record", "define make_registry(): it returns the registry"),
        ("put", "known_record", "define put(image): the registry then returns that image"),
        ("make_unreachable", "constructor_does_no_io", "define make_unreachable()"),
    ],
)
def test_what_is_not_defined_is_named(name: str, case: str, told: str) -> None:
    defined = define_all()
    del defined[name]
    assert told in told_by(RegistrySuite, case, **defined)


def test_removal_is_optional() -> None:
    assert told_by(RegistrySuite, "removed_record", **define_all()) == ""


def test_right_registry() -> None:
    assert told_by(RegistrySuite, "known_record", **define_all()) == ""


def test_each_field_that_differs_is_named() -> None:
    def put_other(suite: Any, image: Image) -> None:
        suite.registry.put(Image(id=image.id, status="active", owner=image.owner))

    told = told_by(RegistrySuite, "known_record", **define_all(put=put_other))
    assert "get('suite') must return the record as it was put, but name is None" in told
    assert "min_ram is 0, not 256" in told
    assert "owner is" not in told


def test_registry_may_hold_fewer_records_and_ids() -> None:
    put: list[Image] = []

    def put_plain(suite: Any, image: Image) -> None:
        put.append(image)
        suite.registry.put(image)

    defined = define_all(
        put=put_plain,
        can_hold=lambda _, image: not image.deleted,
        can_have=lambda _, image_id: image_id.isalnum(),
    )
    assert told_by(RegistrySuite, "other_records", **defined) == ""
    assert told_by(RegistrySuite, "odd_ids_that_are_known", **defined) == ""
    assert put
    assert not any(image.deleted for image in put)
