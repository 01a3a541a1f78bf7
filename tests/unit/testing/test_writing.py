# SPDX-License-Identifier: Apache-2.0
from typing import Any

import pytest
import testtools

from imageapi.backends.writing import RecordExists, WriteError
from imageapi.errors import BackendUnavailable, ImageNotFound
from imageapi.testing.fakes import MemoryStore
from imageapi.testing.suite import build
from imageapi.testing.writing import WritingHelpers


@pytest.fixture
def helpers() -> WritingHelpers:
    class Helped(WritingHelpers, testtools.TestCase):
        def runTest(self) -> None:  # noqa: N802 - unittest's name
            pass

    helped = Helped("runTest")
    helped.backend = build(MemoryStore)
    return helped


def raises_error(error: Exception) -> Any:
    def act() -> None:
        raise error

    return act


def test_result_or_error_of_an_attempt(helpers: WritingHelpers) -> None:
    assert helpers.attempted("it", lambda: 5) == 5
    for error in (WriteError("full"), RecordExists("there"), BackendUnavailable("down")):
        assert helpers.attempted("it", raises_error(error)) is error
    with pytest.raises(AssertionError, match=r"^it raised OSError: full; a backend raises only"):
        helpers.attempted("it", raises_error(OSError("full")))


def test_what_must_work_names_the_error(helpers: WritingHelpers) -> None:
    assert helpers.writes("it", lambda: 5) == 5
    with pytest.raises(AssertionError, match=r"^it must work here, but raised WriteError: full"):
        helpers.writes("it", raises_error(WriteError("full")))


def test_what_must_fail_names_what_happened(helpers: WritingHelpers) -> None:
    error = RecordExists("there")
    assert helpers.writes_not("it", raises_error(error), WriteError) is error
    with pytest.raises(AssertionError, match=r"^it must raise WriteError, but returned int$"):
        helpers.writes_not("it", lambda: 5)
    with pytest.raises(AssertionError, match="raise ImageNotFound, but raised WriteError"):
        helpers.writes_not("it", raises_error(WriteError("full")), ImageNotFound)
    with pytest.raises(AssertionError, match="the error of it shows secret number 0"):
        helpers.writes_not("it", raises_error(WriteError("refused suite-token")))
