# SPDX-License-Identifier: Apache-2.0
import re
from pathlib import Path

import pytest

from imageapi.policy.property_protections import POLICIES, ROLES, read_sections
from tests.configuration import load, problems_of
from tests.paths import ROOT
from tests.property_protections import protection_file

CORE = "[imageapi]\nregistry = memory\nstores = memory\nproperty_protection_file = {}\n"
BY_RULES = "property_protection_rule_format = policies\n"


def protected_by_file(path: Path | str, more: str = "") -> str:
    return CORE.format(path) + more


def test_without_a_file(tmp_path: Path) -> None:
    backends = load(tmp_path, "[imageapi]\nregistry = memory\nstores = memory\n")
    assert backends.protections.sections is None
    backends.close()


def test_a_file_beside_the_configuration(tmp_path: Path) -> None:
    protection_file(tmp_path, {"a": "r", "b": "@"})
    backends = load(tmp_path, protected_by_file("property-protections.conf"))
    sections = backends.protections.sections or ()
    assert [one.pattern.pattern for one in sections] == ["a", "b"]
    backends.close()


@pytest.mark.parametrize("name", ["absent", ""])
def test_a_file_that_is_not_there(tmp_path: Path, name: str) -> None:
    (problem,) = problems_of(tmp_path, protected_by_file(name))
    begin = f"[imageapi] property_protection_file: file {name!r} not found"
    assert problem.startswith(f"{begin}; create it, or correct the path (a relative one")
    assert problem.endswith(f" (in {tmp_path}/imageapi.conf)")


def test_each_problem_of_a_file_is_told(tmp_path: Path) -> None:
    path = protection_file(tmp_path, {"(": "@", "a": "@, !"})
    assert problems_of(tmp_path, protected_by_file(path)) == [
        f"[imageapi] property_protection_file: {path}: section [{section}]: {cause}"
        f" (in {tmp_path}/imageapi.conf)"
        for section, cause in [
            (
                "(",
                (
                    "its name is not a regular expression: missing ), unterminated subpattern at"
                    " position 0"
                ),
            ),
            ("a", "'read' must not be both @ (everybody) and ! (nobody)"),
        ]
    ]


def test_unknown_format(tmp_path: Path) -> None:
    path = protection_file(tmp_path, {"a": "@"})
    more = "property_protection_rule_format = rules\n"
    (problem,) = problems_of(tmp_path, protected_by_file(path, more))
    assert problem.startswith("[imageapi] property_protection_rule_format: ")
    assert "roles, policies" in problem
    assert "'rules'" in problem


def test_the_files_of_the_page(tmp_path: Path) -> None:
    """docs/operations.md, Protected properties."""
    files = re.findall(
        r"```ini\n(\[\^.*?)```", (ROOT / "docs/operations.md").read_text(), re.DOTALL
    )
    for text, rule_format, readers in zip(
        files,
        (ROLES, POLICIES),
        ([{"admin", "billing"}, set(), {"@"}], [{"accountants"}]),
        strict=True,
    ):
        path = tmp_path / "file"
        path.write_text(text)
        assert [one.readers for one in read_sections(str(path), rule_format)] == readers


class TestRulesThatDecide:
    """The format policies: rules of the policy decide."""

    def test_rules_of_the_policy_file(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """They count as used."""
        (tmp_path / "policy.yaml").write_text('"readers": "role:r"')
        protection_file(tmp_path, {"a": "readers", "b": "get_image", "c": "@"})
        more = f"{BY_RULES}[imageapi_policy_rules]\npolicy_file = policy.yaml"
        backends = load(tmp_path, protected_by_file("property-protections.conf", more))
        assert backends.protections.rules == ["get_image", "readers"]
        assert caplog.messages == []
        assert backends.policy.backend.check().startswith("policy_file ")
        backends.close()

    @pytest.mark.parametrize("policy", ["rules", "visible"])
    def test_rule_that_the_policy_does_not_have(self, tmp_path: Path, policy: str) -> None:
        path = protection_file(tmp_path, {"a": "readers", "b": "role:x"})
        found = problems_of(tmp_path, protected_by_file(path, f"{BY_RULES}policy = {policy}\n"))
        assert found == [
            f"[imageapi] property_protection_file: {path}: the policy has no rule {name!r}; add it,"
            f" or correct its name (in {tmp_path}/imageapi.conf)"
            for name in ("readers", "role:x")
        ]
