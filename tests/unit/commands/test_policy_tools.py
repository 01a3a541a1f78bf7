# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys
from pathlib import Path

import pytest

from imageapi.commands import policy_tools


def tool(name: str, config: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).parent / name), "--namespace", "imageapi"],
        env={"IMAGEAPI_CONFIG_FILE": str(config), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
    )


def write_rules(folder: Path, rules: str) -> Path:
    (folder / "policy.yaml").write_text(rules)
    config = folder / "imageapi.conf"
    config.write_text("[imageapi_policy_rules]\npolicy_file = policy.yaml\n")
    return config


@pytest.mark.parametrize(
    ("rules", "status", "told"),
    [
        ('"download_image": "role:admin"', 0, ""),
        ('"download_imag": "role:admin"', 1, "Unknown rule found in policy file: download_imag"),
    ],
)
def test_validator(tmp_path: Path, rules: str, status: int, told: str) -> None:
    done = tool("oslopolicy-validator", write_rules(tmp_path, rules))
    assert done.returncode == status, done.stderr
    assert told in done.stdout


def test_list_redundant(tmp_path: Path) -> None:
    done = tool("oslopolicy-list-redundant", write_rules(tmp_path, '"download_image": ""'))
    assert done.returncode == 0, done.stderr
    assert "download_image" in done.stdout


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", r"\[imageapi_policy_rules\] policy_file is not set: the default rules apply"),
        ("[imageapi]\npolicy = visible\n", r"\[imageapi\] policy: 'visible' has no policy file"),
        ("[imageapi_policy_rules]\npolicy_file = x.yaml\n", "policy_file: file 'x.yaml' not found"),
    ],
)
def test_no_policy_file(
    tmp_path: Path, text: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "imageapi.conf"
    config.write_text(text)
    monkeypatch.setenv("IMAGEAPI_CONFIG_FILE", str(config))
    with pytest.raises(SystemExit, match=told):
        policy_tools.enforcer()
