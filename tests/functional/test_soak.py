# SPDX-License-Identifier: Apache-2.0
"""Faults of all kinds happen at once, and no client gets a complete wrong body."""

import secrets
from pathlib import Path

import pytest

from tests.functional.ceph import needs_ceph
from tests.functional.soak.door import Resources
from tests.functional.soak.log_lines import BROKEN_OFF, EXPLAINED, NOT_EXPLAINED, kinds_of
from tests.functional.soak.report import Report
from tests.functional.soak.storm import refuse_growth, soak
from tests.paths import ROOT


@needs_ceph
@pytest.mark.timeout(600)
def test_no_complete_wrong_body(tmp_path: Path) -> None:
    report = Report()
    soak(tmp_path, secrets.randbelow(10**6), 6, 2, 1, report)
    assert not report.wrong, "\n".join(report.wrong)
    # Which lines and faults happen in so short a time is chance: the command judges both.


def test_growth_is_refused() -> None:
    first = Resources(3, 60, 5, 40, 200, 10**7, 0)
    refuse_growth(first, first._replace(descriptors=65, threads=50, memory=250))
    for more in ({"descriptors": 100}, {"threads": 100}, {"memory": 500}, {"processes": 4}):
        with pytest.raises(AssertionError, match=f"{next(iter(more))} grew"):
            refuse_growth(first, first._replace(**more))


def test_lines_of_the_log_are_explained() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    for words in (BROKEN_OFF, *(one.words for one in EXPLAINED)):
        assert words in page


def test_other_lines_are_not_explained() -> None:
    line = "image 'i': store 'http': http://h/i answers with status 503"
    time = "2026-11-28T10:15:02.116Z 4711 ERROR imageapi.download.opener [req-8a5c]: "
    error = "imageapi.errors.WrongHash: the data's md5 is 1, not 2 as its record says\n"
    traceback = "Traceback (most recent call last):\n  File\n"
    broken_off = f"[2026-11-28] [1] [ERROR] Error in ASGI application\n{traceback}{error}"
    kinds = kinds_of(f"{time}{line}\n{line}\n{broken_off}")
    assert (kinds.pop(EXPLAINED[0].words), kinds.pop(BROKEN_OFF)) == (2, 1)
    assert not kinds
    for text in (f"{time}something else", f"{traceback}{error}", f"{line}\n{traceback}KeyError: 1"):
        assert any(kind.startswith(NOT_EXPLAINED) for kind in kinds_of(text)), text
