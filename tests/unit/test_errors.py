# SPDX-License-Identifier: Apache-2.0
import pytest

from imageapi.errors import (
    BackendUnavailable,
    ConfigurationError,
    ForeignError,
    MalformedImage,
    bug_in,
    only_backend_errors,
)


def test_one_problem_is_no_list_of_characters() -> None:
    assert ConfigurationError("password: too short").problems == ("password: too short",)


def test_texts_are_short_lines() -> None:
    """Parts of them come from a record's author, and any client can cause them to be logged."""
    text = str(MalformedImage("size\n" * 1_000_000))
    assert text == "size " * 200 + "..."
    assert str(MalformedImage("x" * 1000)) == "x" * 1000


def test_foreign_exception_is_a_bug() -> None:
    with pytest.raises(ForeignError) as caught, only_backend_errors("store"):
        raise KeyError("s3cret")
    assert str(caught.value) == "store raised KeyError"
    assert isinstance(bug_in(caught.value), KeyError)


def test_what_a_backend_wraps_is_no_bug() -> None:
    error = BackendUnavailable("out of reach")
    error.__cause__ = OSError()
    assert bug_in(error) is None
