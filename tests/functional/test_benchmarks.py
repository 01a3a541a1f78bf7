# SPDX-License-Identifier: Apache-2.0
"""The benchmark program runs. The test asserts no speed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT


@pytest.mark.timeout(900)
def test_quick_run(tmp_path: Path) -> None:
    numbers, picture = tmp_path / "numbers.json", tmp_path / "ratios.svg"
    command = [sys.executable, "-m", "benchmarks", "--quick"]
    command += ["--json", str(numbers), "--plot", str(picture)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, done.stderr
    figures = json.loads(numbers.read_text())["figures"]
    assert list(figures) == [
        "start",
        "in-process",
        "requests",
        "doors",
        "remembered",
        "records",
        "downloads",
        "rbd",
        "file-lists",
        "swift-lists",
        "database",
        "storm",
        "warm-small",
    ]
    for figure in figures["requests"]:
        assert f"{figure['name']}, {figure['unit']}" in done.stdout
    shown = [figure["name"] for figure in figures["downloads"] if figure["aim"]]
    assert all(name in picture.read_text() for name in shown if "peak" not in name)
