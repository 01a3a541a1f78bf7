# SPDX-License-Identifier: Apache-2.0
import contextlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from urllib3.response import HTTPResponse

from imageapi.backends.http_client import retries
from imageapi.backends.http_client.client import NotReached
from imageapi.backends.http_client.urls import Url
from imageapi.backends.swift.account import SwiftAccount
from imageapi.backends.swift.session import Login
from imageapi.backends.swift.store import SwiftStore
from imageapi.errors import BackendError
from imageapi.testing.suite import build
from tests.unit.backends.swift.fake_swift import NOWHERE
from tests.unit.backends.upstream import response


class AnsweredAccount:
    """An account whose requests get the responses of a test, and which never sleeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = build(SwiftStore, container="images", status_code_retries=2, **NOWHERE)
        self.account: SwiftAccount = self.store.account
        self.answers: list[HTTPResponse | NotReached] = []
        self.tokens: list[str | None] = []
        self.slept: list[float] = []
        self._login = 0
        monkeypatch.setattr(retries, "time", SimpleNamespace(sleep=self.slept.append))
        monkeypatch.setattr(self.account._session, "login", self._current_login)
        monkeypatch.setattr(self.account._session, "renew", self._renew)
        monkeypatch.setattr(self.account._upstream, "request", self._request)

    def _current_login(self) -> Login:
        return Login({"X-Auth-Token": str(self._login)}, Url.parse("http://swift/v1/AUTH_a"))

    def _renew(self, _used: Login) -> bool:
        self._login += 1
        return True

    def _request(self, method: str, url: Url, headers: Any, body: Any) -> HTTPResponse:
        self.tokens.append(headers.get("X-Auth-Token"))
        answer = self.answers.pop(0)
        if isinstance(answer, NotReached):
            raise answer
        return answer

    def status(self, body: Any = None) -> int:
        return self.account.request("GET", "/images/i", {}, body)[0].status


@pytest.fixture
def answered_account(monkeypatch: pytest.MonkeyPatch) -> Iterator[AnsweredAccount]:
    front = AnsweredAccount(monkeypatch)
    yield front
    front.store.close()


def test_a_busy_swift_is_asked_again_after_a_doubling_pause(
    answered_account: AnsweredAccount,
) -> None:
    answered_account.answers = [response(503), response(503), response(200)]
    assert answered_account.status() == 200
    assert answered_account.slept == [0.5, 1]
    answered_account.answers = [response(503), response(503), response(503)]
    assert answered_account.status() == 503


def test_a_retry_after_is_waited_for_unless_it_is_long(answered_account: AnsweredAccount) -> None:
    answered_account.answers = [response(503, Retry_After=7), response(503, Retry_After=11)]
    assert answered_account.status() == 503
    assert answered_account.slept == [7]


def test_a_refused_token_is_renewed_once_and_again_after_a_failed_connection(
    answered_account: AnsweredAccount,
) -> None:
    answered_account.answers = [response(401), response(401)]
    assert answered_account.status() == 401
    assert answered_account.tokens == ["0", "1"]
    answered_account.answers = [response(401), NotReached("down"), response(401), response(200)]
    assert answered_account.status() == 200
    assert answered_account.tokens[2:] == ["1", "2", "2", "3"]


@pytest.mark.parametrize(
    "answer", [lambda: response(401), lambda: response(503), lambda: NotReached("down")]
)
def test_a_body_that_can_be_read_once_is_sent_once(
    answered_account: AnsweredAccount, answer: Callable[[], HTTPResponse | NotReached]
) -> None:
    answered_account.answers = [answer(), response(200)]
    with contextlib.suppress(NotReached):
        assert answered_account.status(iter([b"x"])) in (401, 503)
    assert len(answered_account.tokens) == 1


def test_check_names_the_container_and_says_what_to_do_if_it_does_not_exist(
    answered_account: AnsweredAccount,
) -> None:
    answered_account.answers = [response(204)]
    assert (
        answered_account.account.check("images")
        == "container images at http://swift/v1/AUTH_a/images"
    )
    answered_account.answers = [response(404)]
    with pytest.raises(BackendError, match="the container does not exist: create it"):
        answered_account.account.check("images")


def test_check_of_a_public_container_that_forbids_listing(
    answered_account: AnsweredAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    anonymous = Login({}, Url.parse("http://swift/v1/AUTH_a"))
    monkeypatch.setattr(answered_account.account._session, "login", lambda: anonymous)
    answered_account.answers = [response(403), response(404)]
    assert (
        answered_account.account.check("images")
        == "container images at http://swift/v1/AUTH_a/images"
    )
    answered_account.answers = [response(403), response(403)]
    with pytest.raises(BackendError, match="answers with status 403"):
        answered_account.account.check("images")
