# SPDX-License-Identifier: Apache-2.0
"""The wheel that users install."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.paths import ROOT


def build_wheel(folder: Path) -> Path:
    """Build imageapi's wheel from a copy of the source, without files of earlier builds.

    :param folder: an empty one.
    """
    source = folder / "source"
    shutil.copytree(ROOT / "imageapi", source / "imageapi")
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation"]
    subprocess.run(
        [*command, "--outdir", folder, source], check=True, capture_output=True, timeout=120
    )
    (built,) = folder.glob("imageapi-*.whl")
    return built
