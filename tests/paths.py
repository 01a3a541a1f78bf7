# SPDX-License-Identifier: Apache-2.0
"""Folders that tests use."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

EXAMPLES = ROOT / "examples"

#: The commands of the environment that runs the tests.
BIN = Path(sys.executable).parent
