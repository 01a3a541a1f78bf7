# SPDX-License-Identifier: Apache-2.0
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.credentials import ReadOnlyCredentials

from imageapi.backends.s3 import credentials as module
from imageapi.backends.s3.credentials import ConfiguredCredentials, FoundCredentials, Keys
from imageapi.errors import BackendUnavailable, BadReply


class Source:
    """A session of botocore, and the credentials that it finds.

    :ivar found: what is found next; an exception is raised, None is returned.
    :ivar asked: how often temporary credentials were asked for.
    :ivar sessions: how often a session was made.
    """

    def __init__(self) -> None:
        self.found: Any = ReadOnlyCredentials("key", "secret", None)
        self.sessions = 0
        self.asked = 0
        self.may_answer = threading.Event()
        self.may_answer.set()

    def __call__(self) -> "Source":
        self.sessions += 1
        return self

    def get_credentials(self) -> "Source | None":
        return None if self.found is None else self

    def get_frozen_credentials(self) -> Any:
        self.asked += 1
        self.may_answer.wait(60)
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


@pytest.fixture
def botocore_source() -> Iterator[Source]:
    made = Source()
    yield made
    made.may_answer.set()


@pytest.fixture
def move_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the clock on."""
    now = [1000.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def move(seconds: float) -> None:
        now[0] += seconds

    return move


def test_those_of_the_configuration_never_change() -> None:
    keys = Keys("key", "secret")
    credentials = ConfiguredCredentials(keys)
    assert credentials.get() is keys
    assert not credentials.renew(keys)
    assert "secret" not in f"{credentials!r}{keys!r}{keys}"


def test_found_ones_are_used_for_a_minute_without_a_search(
    botocore_source: Source, move_clock: Any
) -> None:
    credentials = FoundCredentials(5, botocore_source)
    assert credentials.get() == ("key", "secret", None)
    move_clock(59)
    assert credentials.get() == ("key", "secret", None)
    assert (botocore_source.sessions, botocore_source.asked) == (1, 1)


def test_old_ones_are_used_while_a_search_runs_but_not_for_long(
    botocore_source: Source, move_clock: Any
) -> None:
    credentials = FoundCredentials(0.01, botocore_source)
    credentials.get()
    botocore_source.may_answer.clear()
    botocore_source.found = ReadOnlyCredentials("key", "new", "token")
    move_clock(61)
    assert credentials.get().secret_key == "secret"
    move_clock(240)
    with pytest.raises(BackendUnavailable, match="found no credentials in time"):
        credentials.get()
    botocore_source.may_answer.set()
    search = credentials._search
    if search is not None:
        search.result.result(60)
    assert credentials.get() == ("key", "new", "token")
    # botocore itself renews what it has found.
    assert (botocore_source.sessions, botocore_source.asked) == (1, 2)


def test_a_search_that_hangs_holds_requests_for_the_timeout_of_the_search_only(
    botocore_source: Source, move_clock: Any
) -> None:
    botocore_source.may_answer.clear()
    credentials = FoundCredentials(0.05, botocore_source)
    for _ in range(3):
        with pytest.raises(BackendUnavailable, match="in time"):
            credentials.get()
        # Then requests do not wait at all: a clock that stands would let each wait again.
        move_clock(1)
    assert botocore_source.asked == 1


@pytest.mark.parametrize(
    ("found", "error", "message"),
    [
        (None, BadReply, "set access_key and secret_key"),
        (RuntimeError("with a secret"), BackendUnavailable, "cannot find credentials: RuntimeErr"),
    ],
)
def test_a_search_without_success_is_repeated_at_the_next_request(
    botocore_source: Source, found: Any, error: type[Exception], message: str
) -> None:
    botocore_source.found = found
    credentials = FoundCredentials(5, botocore_source)
    with pytest.raises(error, match=message) as caught:
        credentials.get()
    assert "secret" not in str(caught.value).replace("secret_key", "")
    botocore_source.found = ReadOnlyCredentials("key", "secret", None)
    assert credentials.get().access_key == "key"


def test_refused_ones_are_searched_for_with_a_new_session(botocore_source: Source) -> None:
    credentials = FoundCredentials(5, botocore_source)
    keys = credentials.get()
    assert not credentials.renew(keys)
    botocore_source.found = ReadOnlyCredentials("key", "other", None)
    assert credentials.renew(keys)
    assert botocore_source.sessions == 3
    # Another thread has renewed them already.
    assert credentials.renew(keys)
    assert botocore_source.sessions == 3


def test_threads_wait_for_one_search(botocore_source: Source) -> None:
    botocore_source.may_answer.clear()
    credentials = FoundCredentials(60, botocore_source)
    with ThreadPoolExecutor(8) as threads:
        waiting = [threads.submit(credentials.get) for _ in range(8)]
        botocore_source.may_answer.set()
        assert {one.result(60) for one in waiting} == {("key", "secret", None)}
    assert botocore_source.asked == 1


def test_after_a_fork_a_search_begins_anew(
    botocore_source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    botocore_source.may_answer.clear()
    credentials = FoundCredentials(0.01, botocore_source)
    with pytest.raises(BackendUnavailable):
        credentials.get()
    process = os.getpid()
    monkeypatch.setattr(module, "os", SimpleNamespace(getpid=lambda: process + 1))
    with pytest.raises(BackendUnavailable):
        credentials.get()
    assert botocore_source.asked == 2
