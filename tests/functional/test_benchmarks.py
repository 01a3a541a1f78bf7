# SPDX-License-Identifier: Apache-2.0
"""The benchmark program runs; how fast anything is, it does not assert."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(300)
def test_quick_run(tmp_path: Path) -> None:
    numbers = tmp_path / "numbers.json"
    command = [sys.executable, "-m", "benchmarks", "--quick", "--json", str(numbers)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    for part in ("in-process", "requests", "throughput", "memory", "proxied", "swift"):
        assert part in done.stdout
    assert json.loads(numbers.read_text())
