# SPDX-License-Identifier: Apache-2.0
import os
from pathlib import Path

import pytest

from imageapi.commands.metrics_folder import VARIABLE, MetricsFolder


@pytest.fixture(autouse=True)
def variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "set back at the end")
    monkeypatch.delenv(VARIABLE)


def test_temporary_folder() -> None:
    folder = MetricsFolder()
    first = Path(os.environ[VARIABLE])
    folder.mend()
    assert Path(os.environ[VARIABLE]) == first
    first.rmdir()
    folder.mend()
    second = Path(os.environ[VARIABLE])
    assert second.is_dir()
    assert second != first
    assert second.stat().st_mode & 0o777 == 0o700
    folder.close()
    assert not second.exists()


def test_temporary_folder_of_somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was removed, and another user took its name: nothing is written there."""
    folder = MetricsFolder()
    first = Path(os.environ[VARIABLE])
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    folder.mend()
    assert Path(os.environ[VARIABLE]) != first
    folder.close()
    first.rmdir()


def test_folder_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    named = tmp_path / "parent" / "metrics"
    monkeypatch.setenv(VARIABLE, str(named))
    folder = MetricsFolder()
    folder.mend()
    assert named.is_dir()
    folder.close()
    assert named.is_dir()
    assert caplog.messages == [f"metrics: {named} was removed; all counts begin at 0 again"]


def test_folder_that_cannot_be_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    named = tmp_path / "file" / "metrics"
    monkeypatch.setenv(VARIABLE, str(named))
    MetricsFolder().mend()
    assert f"metrics: {named} was removed, and no folder can be created: " in caplog.text
