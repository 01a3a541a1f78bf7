# SPDX-License-Identifier: Apache-2.0
"""The policies of imageapi pass the conformance suite."""

import tempfile
from pathlib import Path

import testtools

from imageapi.policy.rules import RulesPolicy
from imageapi.policy.visible import VisiblePolicy
from imageapi.testing.policy_suite import PolicySuite
from imageapi.testing.suite import build

RULES = """\
get_image: "role:member or is_admin:True"
download_image: "role:admin or project_id:%(owner)s"
"""


class TestVisiblePolicy(PolicySuite, testtools.TestCase):
    allows_everything = True

    def make_policy(self) -> VisiblePolicy:
        return build(VisiblePolicy)


class TestRulesPolicyDefaults(PolicySuite, testtools.TestCase):
    def make_policy(self) -> RulesPolicy:
        return build(RulesPolicy)

    def test_not_all_answers_are_the_same(self) -> None:
        """By default, callers may do everything with the images that they may know of."""
        assert set(self.answers()) == {True}


class TestRulesPolicyOfAFile(PolicySuite, testtools.TestCase):
    def make_policy(self) -> RulesPolicy:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = Path(folder.name, "policy.yaml")
        path.write_text(RULES)
        return build(RulesPolicy, policy_file=str(path))
