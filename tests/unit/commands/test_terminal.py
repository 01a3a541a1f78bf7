# SPDX-License-Identifier: Apache-2.0
import io
import logging

import pytest

from imageapi.commands.terminal import complain, log_bug, tell
from imageapi.errors import BackendError, unexpected


@pytest.mark.parametrize(
    ("encoding", "text", "line"),
    [
        ("utf-8", "a\x1b[2J\nb\x9bc", b"a [2J b c\n"),
        ("utf-8", "n\u00e9 \ud800", b"n\xc3\xa9 \\ud800\n"),
        ("ascii", "n\u00e9", b"n\\xe9\n"),
    ],
)
def test_a_line_is_one_that_the_terminal_can_show(encoding: str, text: str, line: bytes) -> None:
    shown = io.BytesIO()
    with io.TextIOWrapper(shown, encoding=encoding, write_through=True) as file:
        tell(text, file)
        assert shown.getvalue() == line


def test_complaints_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    complain("no such file")
    assert capsys.readouterr() == ("", "imageapi: no such file\n")


def test_a_bug_of_a_backend_is_logged_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bug = ZeroDivisionError("a bug")
    error = unexpected("store 'file'", bug)
    error.__cause__ = bug
    log_bug(error)
    (record,) = caplog.records
    assert (record.levelno, record.message) == (logging.ERROR, str(error))
    assert record.exc_info is not None
    assert record.exc_info[1] is bug


def test_the_cause_of_another_error_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    error = BackendError("refused")
    error.__cause__ = ValueError("s3cret")
    log_bug(error)
    assert caplog.records == []
