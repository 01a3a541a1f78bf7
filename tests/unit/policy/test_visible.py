# SPDX-License-Identifier: Apache-2.0
from imageapi.caller import ANONYMOUS
from imageapi.policy.base import DOWNLOAD_IMAGE, GET_IMAGE
from imageapi.policy.visible import VisiblePolicy
from imageapi.testing.suite import build


def test_allows_what_the_core_lets_a_caller_see() -> None:
    policy = build(VisiblePolicy)
    assert all(policy.allows(action, ANONYMOUS, {}) for action in (GET_IMAGE, DOWNLOAD_IMAGE))


def test_check_says_what_it_does() -> None:
    assert build(VisiblePolicy).check() == "a caller who may know of an image may download it"
