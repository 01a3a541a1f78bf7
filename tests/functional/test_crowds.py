# SPDX-License-Identifier: Apache-2.0
"""No client of ``imageapi serve`` waits long for other clients, however they behave.

The limits allow for a busy machine. ``python -m tests.functional.crowds`` prints the times
of this machine.
"""

import statistics
from pathlib import Path

import pytest

from tests.functional.crowds import beside_attackers, crowded_server, slow_downloads


@pytest.mark.timeout(300)
def test_a_thousand_downloads_at_once(tmp_path: Path) -> None:
    with crowded_server(tmp_path / "deployment") as server:
        came = slow_downloads(server, seconds=10)
    # With one thread for each download only eight would begin.
    assert came.began < 60
    assert statistics.median(came.heads) < 5
    assert came.memory < 300 * 2**20


@pytest.mark.timeout(300)
def test_clients_that_stay_and_do_nothing(tmp_path: Path) -> None:
    with crowded_server(tmp_path / "deployment") as server:
        times = beside_attackers(server, seconds=15)
    # If one of these clients held a thread or the worker, it would take much longer.
    assert max(times) < 20
