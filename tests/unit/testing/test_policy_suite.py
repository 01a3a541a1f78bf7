# SPDX-License-Identifier: Apache-2.0
"""What the suite tells its user; tests/conformance has what it finds in wrong policies."""

from collections.abc import Mapping
from typing import Any

import pytest

from imageapi.caller import Caller
from imageapi.policy.base import DOWNLOAD_IMAGE, GET_IMAGE, PolicyBackend
from imageapi.policy.visible import VisiblePolicy
from imageapi.testing.policy_suite import PolicySuite
from imageapi.testing.suite import build
from tests.unit.testing.cases import told_by


def define_policy(policy: type[PolicyBackend] = VisiblePolicy, **others: Any) -> dict[str, Any]:
    """All that a subclass must define, and others."""
    return {"make_policy": lambda _: build(policy), **others}


def test_what_is_not_defined_is_named() -> None:
    told = told_by(PolicySuite, "answers_a_member")
    assert "define make_policy(): it returns the policy under test" in told


@pytest.mark.parametrize("case", ["upstream_out_of_reach", "constructor_does_no_io"])
def test_policy_needs_no_upstream(case: str) -> None:
    assert told_by(PolicySuite, case, **define_policy()) == ""


def test_policy_that_allows_everything_must_say_so() -> None:
    told = told_by(PolicySuite, "unknown_action", **define_policy())
    assert "refuse it, or set allows_everything" in told
    assert told_by(PolicySuite, "unknown_action", **define_policy(allows_everything=True)) == ""


@pytest.mark.parametrize(
    ("asks_upstream", "told"),
    [
        ((GET_IMAGE, DOWNLOAD_IMAGE), f"allows('{GET_IMAGE}') must refuse"),
        ((DOWNLOAD_IMAGE,), f"allows('{DOWNLOAD_IMAGE}') must refuse"),
        ((), ""),
    ],
)
def test_only_actions_that_ask_the_upstream_must_be_refused_without_it(
    asks_upstream: tuple[str, ...], told: str
) -> None:
    defined = define_policy(
        make_unreachable=lambda _: build(VisiblePolicy), asks_upstream=asks_upstream
    )
    found = told_by(PolicySuite, "upstream_out_of_reach", **defined)
    assert told in found
    assert bool(told) == bool(found)


def test_question_with_a_wrong_answer_is_named() -> None:
    class SaysYesInWords(VisiblePolicy):
        def allows(self, action: str, caller: Caller, target: Mapping[str, object]) -> Any:
            return "yes"

    told = told_by(PolicySuite, "answers_an_admin", **define_policy(SaysYesInWords))
    assert f"allows('{GET_IMAGE}'" in told
    assert "must return True or False, not 'yes'" in told
