# SPDX-License-Identifier: Apache-2.0
"""What every policy must do, as cases for a plugin's own tests (see `imageapi.testing.suite`).

A subclass of `PolicySuite` defines `make_policy`.
"""

import copy
import itertools
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import NamedTuple

from imageapi.caller import ANONYMOUS, Caller
from imageapi.image import Image, Location
from imageapi.policy.base import DOWNLOAD_IMAGE, GET_IMAGE, PolicyBackend, Target
from imageapi.testing.suite import BackendSuite

_ADMIN = Caller(user_id="admin", project_id="admin", roles=("admin", "Member"), is_admin=True)


class _Question(NamedTuple):
    """What `PolicyBackend.allows` is asked."""

    action: str
    caller: Caller
    target: Mapping[str, object]


class PolicySuite(BackendSuite, mixin=True):
    """What the author defines comes first; below it, the cases.

    :cvar allows_everything: True for a policy that by design never refuses
        anything, and so allows an action that it does not know too.
    :cvar asks_upstream: the actions that it cannot decide on without its upstream.
    :ivar policy: what `make_policy` made for this case.
    """

    allows_everything = False
    asks_upstream: Collection[str] = (GET_IMAGE, DOWNLOAD_IMAGE)

    def make_policy(self) -> PolicyBackend:
        """Make the policy; called once in each case, before all else."""
        raise NotImplementedError("define make_policy(): it returns the policy under test")

    def make_unreachable(self) -> PolicyBackend | None:
        """Make a policy whose upstream cannot be reached; None where it decides by itself."""
        return None

    # Helpers of the cases.

    def setUp(self) -> None:
        super().setUp()
        self.policy = self.make_policy()
        self.lets_go_of(self.policy)

    def backend(self) -> PolicyBackend:
        return self.policy

    def unreachable(self) -> PolicyBackend | None:
        return self.make_unreachable()

    def questions(self, *callers: Caller) -> list[_Question]:
        """Both actions, asked by these callers of no image, a small and a full one."""
        actions = (GET_IMAGE, DOWNLOAD_IMAGE)
        small = Image(id="small", status="queued", is_public=True)
        targets: tuple[Mapping[str, object], ...]
        targets = (MappingProxyType({}), Target(small), Target(_full_image()))
        return [_Question(*one) for one in itertools.product(actions, callers, targets)]

    def answers(self, *callers: Caller) -> list[bool]:
        """What the policy says to all the questions of these callers; each must be a bool."""
        return [self.answer(question) for question in self.questions(*callers)]

    def answer(self, question: _Question) -> bool:
        """What the policy says to one question."""
        what = f"allows({question.action!r}, {question.caller}, {dict(question.target)!r:.200})"
        answer = self.works(what, lambda: self.policy.allows(*question))
        told = f"{what} must return True or False, not {answer!r:.50}"
        self.must(type(answer) is bool, told)
        return answer

    # The cases.

    def test_answers_a_member(self) -> None:
        self.answers(self.caller)

    def test_answers_an_anonymous_caller(self) -> None:
        self.answers(ANONYMOUS)

    def test_answers_an_admin(self) -> None:
        self.answers(_ADMIN)

    def test_unknown_action(self) -> None:
        """Nothing asks of one today; a policy must not allow what it has never heard of."""
        if self.allows_everything:
            return
        for question in self.questions(ANONYMOUS, self.caller, _ADMIN):
            unknown = question._replace(action="suite_unknown_action")
            self.must(
                self._answer_or_error(self.policy, unknown) is not True,
                f"the policy allowed an unknown action to {question.caller}:"
                " refuse it, or set allows_everything",
            )

    def test_leaves_the_target_alone(self) -> None:
        for question in self.questions(ANONYMOUS, self.caller, _ADMIN):
            before = copy.deepcopy(dict(question.target))
            self.answer(question)
            self.must(before == dict(question.target), "allows() must not change its target")

    def test_answers_the_same_again(self) -> None:
        callers = (ANONYMOUS, self.caller, _ADMIN)
        first = self.answers(*callers)
        self.must(first == self.answers(*callers), "allows() must give the same answer again")

    def test_upstream_out_of_reach(self) -> None:
        policy = self.make_unreachable()
        if policy is None:
            return
        self.lets_go_of(policy)
        for question in self.questions(ANONYMOUS, self.caller, _ADMIN):
            if question.action in self.asks_upstream:
                answer = self._answer_or_error(policy, question)
                told = f"allows({question.action!r}) must refuse while its upstream is unreachable"
                self.must(answer is not True, f"{told}, unless asks_upstream excludes it")

    def test_leaves_no_descriptors_open(self) -> None:
        self.leaks_nothing("allows()", lambda: self.answers(self.caller))

    def test_ten_threads(self) -> None:
        callers = (ANONYMOUS, self.caller, _ADMIN)
        alone = self.answers(*callers)

        def ask(_number: int) -> None:
            for _ in range(5):
                self.assertEqual(alone, self.answers(*callers), "answers differ from one thread's")

        self.in_threads(ask)

    def test_after_a_fork(self) -> None:
        self.in_child(lambda: self.answers(self.caller))

    def test_shows_no_secret(self) -> None:
        self.answers(self.caller)
        self.keeps_secrets({"the policy": self.policy})

    def _answer_or_error(self, policy: PolicyBackend, question: _Question) -> object:
        """An answer, or an exception: the core takes any for a refusal."""
        try:
            return policy.allows(*question)
        except Exception as error:
            return error


def _full_image() -> Image:
    """An image with what a target can hold; new, since a bad policy may change it."""
    return Image(
        id="suite",
        status="active",
        name="Suite",
        size=1,
        checksum="0123456789abcdef" * 2,
        created_at=datetime(2010, 2, 3, 9, 34, 1, tzinfo=UTC),
        owner="suite-project",
        locations=(Location("suite://host/one"),),
        members=frozenset({"one", "two"}),
        properties={
            "distro": "Ubuntu",
            "list": [1, {"deep": ["x"]}],
            "number": 1.5,
            "\N{SNOWMAN} %(owner)s": "%s",
            "roles": ["admin"],
            "is_admin": True,
            "": "",
        },
    )
