# SPDX-License-Identifier: Apache-2.0
"""Generated files are up to date, pre-commit runs the steps of scripts/check, and lower bounds
have reasons.
"""

import configparser
import re
import subprocess
from pathlib import Path

import pytest

from tests.paths import BIN, ROOT


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


def test_pre_commit_runs_what_check_runs() -> None:
    hooks = re.findall(
        r"^ +entry: (.+)$", (ROOT / ".pre-commit-config.yaml").read_text(), re.MULTILINE
    )
    script = (ROOT / "scripts" / "check").read_text()
    assert hooks == re.findall(r"^((?:scripts|\.venv/bin)/.+)$", script, re.MULTILINE)


def test_each_lower_bound_has_a_reason() -> None:
    """CONTRIBUTING.md, Pins, has the name and the number, so a new bound needs a new reason."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = [setup["options"]["install_requires"], *setup["options.extras_require"].values()]
    lines.append(re.findall('requires = \\["(.*)"\\]', (ROOT / "pyproject.toml").read_text())[0])
    bounds = [re.fullmatch("(.+)>=(.+)", bound) for text in lines for bound in text.split()]
    pins = (ROOT / "CONTRIBUTING.md").read_text().partition("## Pins")[2]
    reasons = "\n".join(re.findall(r"^\| (.+?) \|", pins, re.MULTILINE))
    told = dict(re.findall(r"([A-Za-z0-9.-]+) ([0-9.]+)", reasons))
    assert told == {bound[1]: bound[2] for bound in bounds if bound}
    assert None not in bounds
