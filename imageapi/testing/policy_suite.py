# SPDX-License-Identifier: Apache-2.0
"""Test cases for every policy, for the tests of a plugin (see `imageapi.testing.suite`).

A subclass of `PolicySuite` defines `make_policy`.
"""

import copy
import itertools
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import NamedTuple

from imageapi.caller import ANONYMOUS, Caller
from imageapi.image import Image, Location
from imageapi.policy.base import (
    DOWNLOAD_IMAGE,
    GET_IMAGE,
    GET_IMAGES,
    GET_MEMBERS,
    PolicyBackend,
    Target,
)
from imageapi.testing.suite import BackendSuite

_ADMIN = Caller(user_id="admin", project_id="admin", roles=("admin", "Member"), is_admin=True)


class _Question(NamedTuple):
    """The arguments of `PolicyBackend.allows`."""

    action: str
    caller: Caller
    target: Mapping[str, object]


class PolicySuite(BackendSuite, mixin=True):
    """The methods that the author defines come first, and the cases below them.

    :cvar allows_everything: True for a policy that by design never refuses
        anything, and so also allows an unknown action.
    :cvar asks_upstream: the actions that the policy cannot decide without its upstream.
    :ivar policy: the policy that `make_policy` created for this case.
    """

    allows_everything = False
    asks_upstream: Collection[str] = (GET_IMAGE, DOWNLOAD_IMAGE)

    def make_policy(self) -> PolicyBackend:
        """Create the policy; called once in each case, before anything else."""
        raise NotImplementedError("define make_policy(): it returns the policy under test")

    def make_unreachable(self) -> PolicyBackend | None:
        """Create a policy with an unreachable upstream; None if it has no upstream."""
        return None

    # Helpers of the cases.

    def setUp(self) -> None:
        super().setUp()
        self.policy = self.backend = self.closed_later(self.make_policy())

    def questions(self, *callers: Caller) -> list[_Question]:
        """Each action, with an empty, a small and a full target, for these or all callers."""
        callers = callers or (ANONYMOUS, self.caller, _ADMIN)
        actions = (GET_IMAGE, DOWNLOAD_IMAGE, GET_IMAGES, GET_MEMBERS)
        small = Image(id="small", status="queued", is_public=True)
        targets: tuple[Mapping[str, object], ...]
        targets = (MappingProxyType({}), Target(small), Target(_full_image()))
        return [_Question(*one) for one in itertools.product(actions, callers, targets)]

    def answers(self, *callers: Caller) -> list[bool]:
        """Ask all `questions`; each answer must be a bool."""
        return [self.answer(question) for question in self.questions(*callers)]

    def answer(self, question: _Question) -> bool:
        """Ask one question; the answer must be a bool."""
        what = f"allows({question.action!r}, {question.caller}, {dict(question.target)!r:.200})"
        answer = self.works(what, lambda: self.policy.allows(*question))
        message = f"{what} must return True or False, not {answer!r:.50}"
        self.must(type(answer) is bool, message)
        return answer

    # The cases.

    def test_answers_a_member(self) -> None:
        self.answers(self.caller)

    def test_answers_an_anonymous_caller(self) -> None:
        self.answers(ANONYMOUS)

    def test_answers_an_admin(self) -> None:
        self.answers(_ADMIN)

    def test_not_all_answers_are_the_same(self) -> None:
        """Otherwise the cases with threads and several callers prove nothing."""
        if not self.allows_everything and len(set(self.answers())) == 1:
            self.not_proved(
                "each question has the same answer: configure the policy so that it allows"
                " something to self.caller or to an admin, and refuses something"
            )

    def test_unknown_action(self) -> None:
        """imageapi has no such action today, but a policy must not allow unknown ones."""
        if self.allows_everything:
            return
        for question in self.questions():
            unknown = question._replace(action="suite_unknown_action")
            self.must(
                self._answer_or_error(self.policy, unknown) is not True,
                f"the policy allowed an unknown action to {question.caller}:"
                " refuse it, or set allows_everything",
            )

    def test_leaves_the_target_alone(self) -> None:
        for question in self.questions():
            before = copy.deepcopy(dict(question.target))
            self.answer(question)
            self.must(before == dict(question.target), "allows() must not change its target")

    def test_answers_the_same_again(self) -> None:
        self.must(self.answers() == self.answers(), "allows() must give the same answer again")

    def test_upstream_out_of_reach(self) -> None:
        policy = self.make_unreachable()
        if policy is None:
            return
        self.closed_later(policy)
        for question in self.questions():
            if question.action in self.asks_upstream:
                answer = self._answer_or_error(policy, question)
                message = (
                    f"allows({question.action!r}) must refuse while its upstream is unreachable"
                )
                self.must(answer is not True, f"{message}, unless asks_upstream excludes it")

    def test_leaves_no_descriptors_open(self) -> None:
        self.leaks_nothing("allows()", lambda: self.answers(self.caller))

    def test_ten_threads(self) -> None:
        alone = self.answers()

        def ask(_number: int) -> None:
            for _ in range(5):
                self.assertEqual(alone, self.answers(), "answers differ from one thread's")

        self.in_threads(ask)

    def test_two_threads_ask_at_once(self) -> None:
        def asks(caller: Caller) -> Callable[[], None]:
            alone = self.answers(caller)
            told = "answers differ from one thread's"
            return lambda: self.assertEqual(alone, self.answers(caller), told)

        both = asks(self.caller), asks(_ADMIN)
        mend = "two calls of allows() must share nothing that changes, such as the caller"
        self.interleaved(lambda: both, mend)

    def test_after_a_fork(self) -> None:
        self.in_child(lambda: self.answers(self.caller))

    def test_shows_no_secret(self) -> None:
        self.answers(self.caller)
        self.keeps_secrets({"the policy": self.policy})

    def _answer_or_error(self, policy: PolicyBackend, question: _Question) -> object:
        """Return the answer, or an exception: the core treats any exception as a refusal."""
        try:
            return policy.allows(*question)
        except Exception as error:
            return error


def _full_image() -> Image:
    """Return a new image with all fields of a target: a wrong policy may change it."""
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
