# SPDX-License-Identifier: Apache-2.0
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imageapi.caller import ANONYMOUS, Caller
from imageapi.errors import ConfigurationError
from imageapi.image import Image
from imageapi.policy.property_protections import (
    POLICIES,
    ROLES,
    PropertyProtections,
    PropertyReader,
    Section,
    read_sections,
)
from tests.property_protections import ALL, protection_file


def no_rule(rule: str, caller: Caller) -> bool:
    raise AssertionError(f"the rule {rule!r} is asked")


def reader_of(folder: Path, readers: dict[str, str], *roles: str) -> PropertyReader:
    """What a caller with roles may read, by a file in the format roles."""
    sections = read_sections(str(protection_file(folder, readers)), ROLES)
    return PropertyProtections(sections).reader(Caller(roles=roles), no_rule)


def problems_in(folder: Path, text: str | bytes, rule_format: str = ROLES) -> list[str]:
    path = folder / "property-protections.conf"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigurationError) as caught:
        read_sections(str(path), rule_format)
    return list(caught.value.problems)


@pytest.mark.parametrize(
    ("readers", "roles", "may"),
    [
        ("@", (), True),
        ("!", ("admin",), False),
        ("", ("admin",), False),
        (" , ", ("", "admin"), False),
        ("member", (), False),
        ("member", ("member",), True),
        ("Member", ("mEMBER",), True),
        ("a, member ,b", ("x", "member"), True),
        ("a,\n  member", ("member",), True),
        ("member, @", (), True),
        ("member, !", ("member",), False),
        ("member", ("members", "!", "a,member"), False),
        ("rule:member", ("member",), False),
    ],
)
def test_who_may_read(tmp_path: Path, readers: str, roles: tuple[str, ...], may: bool) -> None:
    assert reader_of(tmp_path, {"^p$": readers}, *roles).may_read("p") is may


def test_admins_have_no_privilege(tmp_path: Path) -> None:
    sections = read_sections(str(protection_file(tmp_path, {"p": "member"})), ROLES)
    admin = Caller(user_id="u", roles=("admin",), is_admin=True)
    assert not PropertyProtections(sections).reader(admin, no_rule).may_read("p")


def test_the_first_section_that_matches_counts(tmp_path: Path) -> None:
    reader = reader_of(tmp_path, {"^a_b$": "!", "^a_": "@", "^a_c$": "!", "d$": "@"})
    names = ["a_b", "a_c", "a_", "xd", "A_x", "b", ""]
    assert [name for name in names if reader.may_read(name)] == ["a_c", "a_", "xd"]


def test_a_pattern_is_searched_anywhere_in_the_name(tmp_path: Path) -> None:
    """Glance uses re.search, not re.match."""
    assert reader_of(tmp_path, {"key": "@"}).may_read("my_key_2")


@pytest.mark.parametrize("name", ["os_glance_x", "os_glance_", "OS_Glance_x"])
def test_what_glance_reserves_is_never_read(tmp_path: Path, name: str) -> None:
    assert not ALL.may_read(name)
    assert not reader_of(tmp_path, {"^os_glance_": "@", ".*": "@"}).may_read(name)
    assert ALL.may_read(f"x{name}")


def test_sections_of_what_glance_reserves_have_no_effect(tmp_path: Path) -> None:
    reader = reader_of(tmp_path, {"os_glance_": "!", "x_": "@"})
    assert reader.may_read("x_os_glance_x")


def test_a_long_name_is_decided_too(tmp_path: Path) -> None:
    reader = reader_of(tmp_path, {"x$": "!", "^a": "@"})
    assert [reader.may_read("a" * 300), reader.may_read("a" * 300 + "x")] == [True, False]


class TestFormatPolicies:
    """The format policies."""

    def reader(
        self, folder: Path, readers: dict[str, str], allows: Callable[[str, Caller], bool]
    ) -> PropertyReader:
        sections = read_sections(str(protection_file(folder, readers)), POLICIES)
        return PropertyProtections(sections, POLICIES).reader(ANONYMOUS, allows)

    def test_each_rule_is_asked_once_for_a_reader(self, tmp_path: Path) -> None:
        asked = []

        def allows(rule: str, caller: Caller) -> bool:
            asked.append((rule, caller))
            return rule == "Yes"

        readers = {"a": "Yes", "b": "no", "c": "Yes", "d": "@", "e": "!", "f": ""}
        reader = self.reader(tmp_path, readers, allows)
        assert [name for name in "abcdefg" if reader.may_read(name)] == ["a", "c", "d"]
        assert asked == [("Yes", ANONYMOUS), ("no", ANONYMOUS)]

    def test_roles_do_not_count(self, tmp_path: Path) -> None:
        sections = read_sections(str(protection_file(tmp_path, {"p": "member"})), POLICIES)
        protections = PropertyProtections(sections, POLICIES)
        assert protections.rules == ["member"]
        reader = protections.reader(Caller(roles=("member",)), lambda rule, caller: False)
        assert not reader.may_read("p")

    def test_roles_are_not_rules(self, tmp_path: Path) -> None:
        sections = read_sections(str(protection_file(tmp_path, {"p": "member"})), ROLES)
        assert PropertyProtections(sections).rules == []


def test_image_as_it_is_shown(tmp_path: Path) -> None:
    image = Image(id="i", status="active", name="n", properties={"a": 1, "b": None, "c": "x"})
    shown = reader_of(tmp_path, {"^[ab]$": "@"}).shown(image)
    assert (dict(shown.properties), shown.name) == ({"a": 1, "b": None}, "n")
    assert dict(image.properties) == {"a": 1, "b": None, "c": "x"}
    assert reader_of(tmp_path, {".": "@"}).shown(image) is image
    assert ALL.shown(image) is image


def test_callers_who_may_read_the_same(tmp_path: Path) -> None:
    readers = {"a": "x, y", "b": "z"}
    one, two, other = (reader_of(tmp_path, readers, role).readable for role in "xyz")
    assert one == two != other


names = st.text(st.sampled_from("abxyA_-\u00fc\n"), max_size=4)
patterns = st.lists(
    st.sampled_from(["^a", "b$", "^ab$", ".", "^$", "[xy]", "(?i)a", "\\n", "a|b"]),
    unique=True,
    max_size=4,
)
roles = st.lists(st.sampled_from(["r", "s", "R"]), max_size=2)
who = st.sampled_from(["@", "!", "", "r", "r,s", "s , !", "R"])


@given(patterns, st.lists(who, min_size=4, max_size=4), roles, st.lists(names, max_size=5))
def test_as_glance_decides(
    found: list[str], readers: list[str], given_roles: list[str], properties: list[str]
) -> None:
    """Each name again, so that what is remembered is asked too."""
    rules = list(zip(found, readers, strict=False))
    sections = [
        Section(re.compile(pattern), frozenset() if "!" in text else split(text))
        for pattern, text in rules
    ]
    reader = PropertyProtections(sections).reader(Caller(roles=tuple(given_roles)), no_rule)
    for name in properties * 2:
        assert reader.may_read(name) is glance_allows(rules, name, given_roles)


def split(text: str) -> frozenset[str]:
    return frozenset(role.strip().lower() for role in text.split(",") if role.strip())


def glance_allows(rules: list[tuple[str, str]], name: str, given_roles: list[str]) -> bool:
    """What Glance 33 answers, in other words."""
    for pattern, text in rules:
        if re.search(pattern, name):
            allowed = split(text)
            if "!" in allowed:
                return False
            return "@" in allowed or any(role.lower() in allowed for role in given_roles)
    return False


LINES = "create = !\nread = @\nupdate = !\ndelete = !\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "has no section, so every property would be hidden; add a section for each property"),
        ("[os_glance_x]\n", "has no section, so every property would be hidden; add"),
        ("read = @\n", "line 1 comes before the first section, such as [^x_owner$]"),
        (f"[a]\n{LINES}[a]\n", "section [a] is repeated in line 6; remove one of the two"),
        (f"[a]\n{LINES}read = !\n", "section [a]: 'read' is repeated in line 6; remove one of"),
        (f"[a]\n{LINES}nothing\n", "line 6 is neither a [SECTION] nor OPERATION = ROLES"),
        (f"[(a]\n{LINES}", "section [(a]: its name is not a regular expression: missing ), unt"),
        (f"[a]\n{LINES.replace('update', 'updte')}", "section [a]: 'update' is missing; add it; "),
        (f"[a]\n{LINES.replace('@', '@, !')}", "section [a]: 'read' must not be both @ (everyb"),
        (f"[a]\n{LINES.replace('@', '%(x)s')}", "section [a]: 'read' has a % that has no meaning"),
        (f"[a]\n{LINES.replace('@', 'a%b')}", "section [a]: 'read' has a % that has no meaning"),
        (b"[a]\nread = \xff\n", "not UTF-8: byte 0xff at offset 11; encode the text in UTF-8"),
    ],
)
def test_file_that_is_refused(tmp_path: Path, text: str | bytes, problem: str) -> None:
    (found,) = problems_in(tmp_path, text)
    assert found.startswith(problem)


def test_each_problem_is_one_sentence(tmp_path: Path) -> None:
    found = problems_in(tmp_path, "[*]\nread = @\ncreate = @,!\n[b]\nread = x\n")
    assert [line.split(": ")[:2] for line in found] == [
        ["section [*]", "its name is not a regular expression"],
        ["section [*]", "'create' must not be both @ (everybody) and ! (nobody)"],
        ["section [*]", "'update' is missing; add it; its value ! refuses every caller"],
        ["section [*]", "'delete' is missing; add it; its value ! refuses every caller"],
        *(
            ["section [b]", f"{name!r} is missing; add it; its value ! refuses every caller"]
            for name in ("create", "update", "delete")
        ),
    ]


def test_several_rules_are_refused(tmp_path: Path) -> None:
    (found,) = problems_in(tmp_path, f"[a]\n{LINES.replace('@', 'one, two')}", POLICIES)
    assert found == (
        "section [a]: 'read' must be the name of one rule, not 'one, two'; combine rules in the"
        " policy file"
    )


@pytest.mark.parametrize("name", ["absent", "."])
def test_file_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^cannot be read: (No such file|Is a directory)"):
        read_sections(str(tmp_path / name), ROLES)


def test_default_section_applies_to_all(tmp_path: Path) -> None:
    """As in Glance, whose parser is the same."""
    path = tmp_path / "file"
    path.write_text(
        "[DEFAULT]\ncreate = !\nupdate = !\ndelete = !\nread = member\n[a]\n[b]\nREAD=@"
    )
    sections = read_sections(str(path), ROLES)
    assert [(one.pattern.pattern, sorted(one.readers)) for one in sections] == [
        ("a", ["member"]),
        ("b", ["@"]),
    ]
