# SPDX-License-Identifier: Apache-2.0
"""2,000 slow clients beside 50 fast ones: none starves, and the server keeps nothing open."""

from pathlib import Path

import pytest

from tests.functional.load import LOADED, ROUNDS, burst, check_bursts, loaded_server


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", LOADED)
def test_slow_and_fast_clients(name: str, tmp_path: Path) -> None:
    with loaded_server(name, tmp_path / "load", chunk_size=131072) as (port, worker):
        # Long enough to send more than the system buffers for a slow client.
        check_bursts([burst(port, worker, 8 * ROUNDS) for _ in range(2)])
