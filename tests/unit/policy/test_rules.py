# SPDX-License-Identifier: Apache-2.0
import copy
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from oslo_config import cfg
from oslo_policy import _checks

from imageapi.caller import Caller
from imageapi.errors import BackendError, ConfigurationError
from imageapi.policy import rules
from imageapi.policy.base import Target
from imageapi.policy.rules import RulesPolicy
from tests.memory import Memory

CALLER = Caller(user_id="u", project_id="p", roles=("Reader", "AUDITOR"))


def policy(folder: Path, text: str | None) -> RulesPolicy:
    conf = cfg.ConfigOpts()
    config = folder / "imageapi.conf"
    config.write_text("[imageapi_policy_rules]\n" + ("policy_file = rules.yaml\n" if text else ""))
    if text:
        (folder / "rules.yaml").write_text(text)
    conf([], default_config_files=[str(config)], default_config_dirs=[])
    conf.register_opts(RulesPolicy.options(), group="imageapi_policy_rules")
    made = RulesPolicy(conf, "imageapi_policy_rules")
    made.use_rules(())
    return made


def allows(folder: Path, rule: str, target: dict[str, Any] | None = None) -> bool:
    return policy(folder, f'"get_image": "{rule}"').allows("get_image", CALLER, target or {})


def test_defaults_allow(tmp_path: Path) -> None:
    for action in ("get_image", "download_image"):
        assert policy(tmp_path, None).allows(action, Caller(), {}) is True


@pytest.mark.parametrize(
    ("rule", "allowed"),
    [
        ("", True),
        ("@", True),
        ("!", False),
        ("role:reader", True),
        ("role:auditor", True),
        ("role:READER", True),
        ("role:admin", False),
        ("not role:admin", True),
        ("(role:admin or role:reader) and not !", True),
        ("role:admin or (role:reader and role:none)", False),
        ("project_id:p", True),
        ("project_id:%(owner)s", True),
        ("project_id:%(absent)s", False),
        ("user_id:u", True),
        ("is_admin:False", True),
        ("'x':%(kind)s", True),
        ("True:%(flag)s", True),
        ("((role:reader))", True),
        ("NOT role:admin AND @", True),
    ],
)
def test_rules(tmp_path: Path, rule: str, allowed: bool) -> None:
    target = {"owner": "p", "kind": "x", "flag": True}
    assert allows(tmp_path, rule, target) is allowed


def test_rule_may_refer_to_another(tmp_path: Path) -> None:
    text = '"get_image": "rule:readers"\n"readers": "role:reader"'
    assert policy(tmp_path, text).allows("get_image", CALLER, {}) is True


def test_rule_default_is_not_asked(tmp_path: Path) -> None:
    one = policy(tmp_path, '"default": "@"')
    with pytest.raises(KeyError):
        one.allows("delete_image", CALLER, {})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "YAML|expected|parsing"),
        ("- a\n- b", "must contain rules"),
        ("just a text", "must contain rules"),
        ('"get_image": [["role:a"]]', "the rule 'get_image' must be a string"),
        ('"get_image": "admin"', "'admin' is not a check"),
        ('"get_image": "role:a role:b"', "has a syntax error at 'role:b'"),
        ('"get_image": "role:a or"', "ends too early"),
        ('"get_image": "or role:a"', "has a syntax error at 'or'"),
        ('"get_image": "(role:a"', "ends too early"),
        ('"get_image": "role:a)"', r"has a syntax error at '\)'"),
        ('"get_image": "()"', r"has a syntax error at '\)'"),
        ('"get_image": "not"', "ends too early"),
        ('"get_image": "role:a not role:b"', "has a syntax error at 'not'"),
        ('"get_image": "rule:absent"', "undefined or circular.*get_image"),
        ('"get_image": "rule:a"\n"a": "rule:get_image"', "undefined or circular"),
        ('"get_image": "\'role:a\'"', "does not parse|is not a check"),
        ('"other": "nonsense"', "'nonsense' is not a check"),
        ('"get_image": "project_id:%(owner"', "is not a check"),
        ('"get_image": "project_id:%(owner)d"', "is not a check"),
        (" \n", "is empty"),
        ('"get_image": " "', "ends too early"),
        ('1: "@"', "the name of a rule must be a string, not 1"),
        ("[" * 2000, "nested too deeply"),
        (f'"get_image": "{"not " * 2000}@"', "nested too deeply"),
    ],
)
def test_broken_file_refuses_to_start(
    tmp_path: Path, text: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        policy(tmp_path, text)
    (problem,) = caught.value.problems
    assert problem.startswith(f"policy_file: {tmp_path / 'rules.yaml'}: ")
    assert re.search(reason, problem, re.DOTALL)
    assert "Traceback" not in caplog.text


def test_unreadable_file_refuses_to_start(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").mkdir()
    conf = cfg.ConfigOpts()
    config = tmp_path / "imageapi.conf"
    config.write_text("[imageapi_policy_rules]\npolicy_file = rules.yaml\n")
    conf([], default_config_files=[str(config)], default_config_dirs=[])
    conf.register_opts(RulesPolicy.options(), group="imageapi_policy_rules")
    with pytest.raises(ConfigurationError, match="Is a directory"):
        RulesPolicy(conf, "imageapi_policy_rules")


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The policy looks for a changed file at each call."""
    monkeypatch.setattr(rules, "RELOAD_SECONDS", -1.0)


@pytest.mark.usefixtures("at_once")
def test_changed_file_is_seen(tmp_path: Path) -> None:
    one = policy(tmp_path, '"get_image": "@"')
    assert one.allows("get_image", CALLER, {})
    (tmp_path / "rules.yaml").write_text('"get_image": "!"')
    # It waits until the file is no longer being written.
    assert [one.allows("get_image", CALLER, {}) for _ in range(2)] == [True, False]


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("broken", ['"get_image": "nonsense"', "{", "", "1: '@'", "[" * 2000, None])
def test_file_that_breaks_later_leaves_the_rules_as_they_were(
    tmp_path: Path, broken: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    one = policy(tmp_path, '"get_image": "!"')
    path = tmp_path / "rules.yaml"
    if broken is None:
        path.unlink()
    else:
        path.write_text(broken)
    for _ in range(3):
        assert not one.allows("get_image", CALLER, {})
    (record,) = caplog.records
    assert record.getMessage().endswith("; the previous rules stay in force")
    assert "\n" not in record.getMessage()
    with pytest.raises(BackendError, match=str(path)):
        one.check()
    path.write_text('"get_image": "@"')
    assert [one.allows("get_image", CALLER, {}) for _ in range(2)] == [False, True]
    one.check()


@pytest.mark.usefixtures("at_once")
def test_half_written_file_is_not_taken_over(tmp_path: Path) -> None:
    one = policy(tmp_path, '"get_image": "!"')
    path = tmp_path / "rules.yaml"
    for text in ("# half", "# half of it", "# half of it, still"):
        path.write_text(text)
        assert not one.allows("get_image", CALLER, {})


@pytest.mark.parametrize("name", ["", "absent.yaml"])
def test_name_of_no_file_refuses_to_start(tmp_path: Path, name: str) -> None:
    conf = cfg.ConfigOpts()
    config = tmp_path / "imageapi.conf"
    config.write_text(f"[imageapi_policy_rules]\npolicy_file = {name}\n")
    conf([], default_config_files=[str(config)], default_config_dirs=[])
    conf.register_opts(RulesPolicy.options(), group="imageapi_policy_rules")
    with pytest.raises(ConfigurationError, match="not found"):
        RulesPolicy(conf, "imageapi_policy_rules")


@pytest.mark.parametrize(
    ("text", "unused"),
    [
        ('"download_imag": "!"', "download_imag"),
        ('"default": "!"', "default"),
        ('"get_image": "rule:a and not rule:b"\n"a": "@"\n"b": "!"\n"c": "@"', "c"),
    ],
)
def test_rule_that_nothing_asks_for_is_told(
    tmp_path: Path, text: str, unused: str, caplog: pytest.LogCaptureFixture
) -> None:
    policy(tmp_path, text)
    (message,) = caplog.messages
    assert message.endswith(f"these rules are never used: {unused}")


def test_rule_that_nothing_asks_for_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = policy(tmp_path, '"default": "!"')
    assert made.check().startswith("policy_file ")
    made.check()
    assert len(caplog.messages) == 1


def test_file_that_is_not_utf8(tmp_path: Path) -> None:
    made = policy(tmp_path, "# Cafe")
    (tmp_path / "rules.yaml").write_bytes(b"# Caf\xe9")
    with pytest.raises(BackendError, match=r"yaml: not UTF-8: byte 0xe9 at offset 5; encode"):
        made.check()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Download_imag", "did you mean 'download_image'?"),
        ("download", "imageapi uses get_image, download_image, get_images, get_members"),
        ("default", None),
        ("add_image", None),
        ("get_metadef_namespace", None),
    ],
)
def test_check_of_a_rule_that_nothing_asks_for(tmp_path: Path, name: str, hint: str | None) -> None:
    made = policy(tmp_path, f'"{name}": "!"')
    if hint is None:
        made.check()
        return
    with pytest.raises(BackendError) as caught:
        made.check()
    told = f"the rule {name!r} is never used ({hint}); correct its name, or remove it"
    assert str(caught.value).endswith(told)


def test_file_of_comments_leaves_the_defaults(tmp_path: Path) -> None:
    assert policy(tmp_path, "# nothing yet").allows("get_image", CALLER, {}) is True


def test_target_can_be_sent_to_another_server(tmp_path: Path) -> None:
    """oslo.policy's http: checks copy the target."""
    image = Memory(tmp_path).put(properties={"a": ["b"]}, name="n")
    copied = copy.deepcopy(Target(image))
    assert copied["a"] == ["b"]
    assert json.loads(json.dumps(copied))["name"] == "n"
    assert set(copied) == set(Target(image))
    assert len(Target(image)) == len(copied)


def test_file_is_looked_for_only_so_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = policy(tmp_path, '"get_image": "@"')
    looked: list[Any] = []
    real = os.stat

    def counted(*args: Any, **how: Any) -> os.stat_result:
        looked.append(args)
        return real(*args, **how)

    monkeypatch.setattr(os, "stat", counted)
    for _ in range(100):
        one.allows("get_image", CALLER, {})
    assert len(looked) <= 1


def test_exception_in_a_rule_refuses(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = Memory(tmp_path, rules='"get_image": "@"')

    def fail(*args: Any) -> bool:
        raise RuntimeError("a bug")

    monkeypatch.setattr(_checks.TrueCheck, "__call__", fail)
    memory.put(name="x")
    assert memory.get(caller=CALLER).status_code == 403
    assert "so get_image is refused" in caplog.text


def test_host_configuration_is_not_used_for_rules(tmp_path: Path) -> None:
    """The section [oslo_policy] of the host application is only for the host's rules."""
    folder = tmp_path / "policy.d"
    folder.mkdir()
    (folder / "host.yaml").write_text('"get_image": "!"')
    config = tmp_path / "host.conf"
    config.write_text("[oslo_policy]\npolicy_dirs = policy.d\npolicy_file = host.yaml\n")
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[str(config)], default_config_dirs=[])
    conf.register_opts(RulesPolicy.options(), group="imageapi_policy_rules")
    one = RulesPolicy(conf, "imageapi_policy_rules")
    assert one.allows("get_image", CALLER, {})
    assert "oslo_policy" not in conf


def test_target_has_every_field(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    image = memory.put(b"data", name="n", owner="p1", is_public=False, members=frozenset("m"))
    target: Any = Target(image)
    assert target["size"] == 4
    assert target["owner"] == target["project_id"] == "p1"
    assert target["visibility"] == "private"
    assert target["members"] == ["m"]
    assert "virtual_size" not in target
    assert "locations" not in target
    with pytest.raises(TypeError):
        target["owner"] = "x"


class TestRulesOfPropertyProtections:
    """`use_rules`: a property protection file names rules."""

    def test_they_are_used(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        made = policy(tmp_path, '"a": "role:reader"\n"b": "!"\n"get_image": "rule:b"')
        caplog.clear()
        assert made.use_rules(["a", "b", "get_image"]) == []
        assert made.check().startswith("policy_file ")
        assert caplog.messages == []
        assert made.allows("a", CALLER, {}) is True
        assert made.allows("b", CALLER, {}) is False

    def test_those_that_are_not_there(self, tmp_path: Path) -> None:
        assert policy(tmp_path, '"default": "@"').use_rules(["x", "default", "y"]) == ["x", "y"]

    def test_a_changed_file_without_one_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(rules, "RELOAD_SECONDS", -1.0)
        made = policy(tmp_path, '"a": "role:reader"')
        made.use_rules(["a"])
        path = tmp_path / "rules.yaml"
        path.write_text('"get_image": "@"\n')
        with pytest.raises(BackendError, match="has no rule 'a', which property_protection_file"):
            made.check()
        for _ in range(3):
            assert made.allows("a", CALLER, {}) is True
        told = "has no rule 'a', which property_protection_file names; the previous rules stay"
        assert sum(told in message for message in caplog.messages) == 1
