# SPDX-License-Identifier: Apache-2.0
"""Cases of `imageapi.testing.list_suite`: which images a list contains."""

import itertools
from typing import Any

from imageapi.backends.listing import GONE, ListQuery
from imageapi.caller import ANONYMOUS, Caller
from imageapi.testing.list_hooks import ADMIN, ListHooks, both_ways, day, public

_OWNER, _MEMBER, _OTHER = (Caller(user_id=f"{name}-user", project_id=name) for name in "omx")


class FilterCases(ListHooks, mixin=True):
    """The conditions of a `ListQuery`, alone and together."""

    def filters(self, mend: str, *queries: dict[str, Any]) -> None:
        """List with each of these conditions."""
        for conditions in queries:
            for query in both_ways(**conditions):
                self.lists(query, mend)

    def test_list_with_text(self) -> None:
        names = (
            "a",
            "A",
            "aa",
            "",
            None,
            "a,b",
            "a%",
            "50%",
            "\N{LATIN SMALL LETTER E WITH ACUTE}",
        )
        self.hold(*(public(f"list-{n}", name=name) for n, name in enumerate(names)))
        self.hold(public("list-raw", status="queued"), public("list-qcow2", disk_format="qcow2"))
        self.hold(public("list-no-format", disk_format=None, container_format=None))
        texts = [
            {"name": {name}} for name in (*names, "b", "None", "%", "name") if name is not None
        ]
        texts += [{"name": {"a", "", "b"}}, {"status": {"queued"}}, {"status": {"active", "x"}}]
        texts += [{"disk_format": {"qcow2", "raw"}}, {"container_format": {"bare"}}]
        texts += [{"disk_format": {""}}, {"name": set()}, {"name": {"name"}, "status": {"queued"}}]
        frozen = ({name: frozenset(them) for name, them in text.items()} for text in texts)
        mend = (
            "texts are equal exactly, and letter case counts; a missing value equals none of them"
        )
        self.filters(mend, *({"texts": text} for text in frozen))

    def test_list_with_numbers(self) -> None:
        self.hold(*(public(f"list-{n}", min_ram=n, min_disk=2 - n) for n in range(3)))
        numbers = [{name: n} for name in ("min_ram", "min_disk") for n in range(4)]
        numbers += [{"min_ram": 1, "min_disk": 1}, {"min_ram": 1, "min_disk": 0}]
        mend = "min_ram and min_disk must be equal to the number, not at least"
        self.filters(mend, *({"numbers": number} for number in numbers))

    def test_list_with_bounds_of_size(self) -> None:
        self.hold(*(public(f"list-{n}", size=n) for n in (0, 1, 2, 2**40)))
        self.hold(public("list-no-size", size=None))
        mend = "both bounds are included, and an image without a size is not within bounds"
        self.filters(
            mend,
            *({"size_min": n} for n in (0, 1, 2, 2**40, 2**64)),
            *({"size_max": n} for n in (0, 1, 2, 2**40, 2**64)),
            *({"size_min": 1, "size_max": n} for n in (0, 1, 2)),
        )

    def test_list_with_flags(self) -> None:
        self.hold(public("list-yes", protected=True), public("list-no"))
        mend = "protected=None asks for all images, True or False for those with that value"
        self.filters(mend, *({"protected": flag} for flag in (None, True, False)))

    def test_list_with_properties(self) -> None:
        values = ("x", "X", 5, 1.5, True, None, "", [1, {"deep": None}])
        for n, value in enumerate(values):
            self.hold(public(f"list-{n}", properties={"key": value, "Key": "Y"}))
        self.hold(public("list-lacks"), public("list-two", properties={"key": "x", "other": "y"}))
        texts = ("x", "X", "5", "1.5", "True", "true", "None", "", '[1,{"deep":null}]', "Y", "z")
        mend = "compare the text that imageapi.protocol.value_text.text_of returns, never str()"
        self.filters(
            mend,
            *({"properties": {"key": text}} for text in texts),
            *({"properties": {name: "Y"}} for name in ("Key", "KEY", "absent")),
            *({"properties": {"key": "x", "other": text}} for text in ("y", "x")),
            *({"properties": {name: "list-two"}} for name in ("id", "name")),
        )

    def test_list_with_later_changes(self) -> None:
        self.hold(*(public(f"list-{n}", updated_at=day(n)) for n in range(3)))
        self.hold(public("list-never", updated_at=None))
        times = [day(n).replace(tzinfo=None) for n in range(-1, 4)]
        mend = "updated_at must be later than changed_after; without one, the image is left out"
        self.filters(mend, *({"changed_after": time} for time in times))

    def test_list_with_all_conditions(self) -> None:
        values = {
            "name": ("a", "b"),
            "size": (1, 9),
            "min_ram": (0, 64),
            "protected": (True, False),
        }
        for n, chosen in enumerate(itertools.product(*values.values())):
            fields: dict[str, Any] = dict(zip(values, chosen, strict=True))
            self.hold(public(f"list-{n}", properties={"key": str(n % 3)}, **fields))
        name = {"name": frozenset({"a"})}
        self.filters(
            "all conditions must hold",
            {"texts": name, "size_min": 2},
            {"texts": name, "protected": True, "size_max": 2},
            {"numbers": {"min_ram": 64}, "properties": {"key": "1"}},
            {"texts": name, "numbers": {"min_ram": 0}, "properties": {"key": "0"}, "size_min": 1},
        )

    def test_list_with_deleted_images(self) -> None:
        for status in ("active", *sorted(GONE), "deactivated", "queued"):
            self.hold(public(f"list-{status}", status=status))
        self.hold(public("list-flag", deleted=True, deleted_at=day(1)))
        mend = "list deleted images, pending_delete and killed ones only with shows_deleted"
        self.lists(ListQuery(), mend)
        for query in both_ways(all_projects=True, shows_deleted=True):
            self.lists(query, mend, ADMIN)

    def test_list_for_projects(self) -> None:
        shared = frozenset({"m", "n"})
        self.hold(
            public("list-public"),
            public("list-public-own", owner="o"),
            public("list-public-shared", owner="x", members=shared),
            public("list-own", is_public=False, owner="o"),
            public("list-shared", is_public=False, owner="o", members=shared),
            public("list-private", is_public=False),
            public("list-empty-owner", is_public=False, owner=""),
        )
        mend = (
            "without all_projects, list public images, those that project_id owns, and those"
            " whose members have it; is_public and shared_with then choose among them"
        )
        for caller in (ANONYMOUS, Caller(project_id=""), _OWNER, _MEMBER, _OTHER, ADMIN):
            for flag in (None, True, False):
                for all_projects in {False, caller.is_admin}:
                    query = ListQuery(
                        project_id=caller.project_id, is_public=flag, all_projects=all_projects
                    )
                    self.lists(query, mend, caller)
        for project in "mx":
            query = ListQuery(project_id=project, shared_with=project, descending=False)
            self.lists(query, mend, Caller(user_id="user", project_id=project))
