# SPDX-License-Identifier: Apache-2.0
"""Faults of all kinds happen at once, and no client gets a complete wrong body."""

import secrets
from pathlib import Path

import pytest

from tests.functional.soak.clients import Report
from tests.functional.soak.storm import FAULTS, soak


@pytest.mark.timeout(600)
def test_no_complete_wrong_body(tmp_path: Path) -> None:
    report = Report()
    soak(tmp_path, secrets.randbelow(10**6), 20, 2, report)
    # Clients and faults were active.
    assert set(report.faults) == FAULTS
    complete = {kind.split(",")[0] for kind, outcome in report.answers if outcome == "complete"}
    assert complete == {"file", "http", "swift"}
    outcomes = report.outcomes()
    assert outcomes["complete"] > 50
    for outcome in ("broken off", "refused", "left", "part", "resumed", "head", "not modified"):
        assert outcomes[outcome], outcome
    assert outcomes["put together"] > 20
