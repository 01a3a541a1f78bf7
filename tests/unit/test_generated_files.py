# SPDX-License-Identifier: Apache-2.0
"""What scripts/generate makes is what the repository has."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    ("generator", "name"),
    [
        ("oslo-config-generator", "imageapi.conf"),
        ("oslopolicy-sample-generator", "policy.yaml.sample"),
    ],
)
def test_is_fresh(tmp_path: Path, generator: str, name: str) -> None:
    made = tmp_path / name
    command = [str(BIN / generator), "--namespace", "imageapi", "--output-file", str(made)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    assert made.read_text() == (ROOT / "etc" / name).read_text(), "run scripts/generate"
