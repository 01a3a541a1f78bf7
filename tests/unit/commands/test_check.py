# SPDX-License-Identifier: Apache-2.0
import importlib.metadata
from typing import Any

import pytest

from imageapi.backends.file.store import FileStore
from tests.deployment import Deployment
from tests.unit.commands.conftest import Run


def test_fine(deployment: Deployment, run: Run) -> None:
    deployment.configure(
        core="stores = fast:file, file",
        more=f"[imageapi_store_fast]\ndirectory = {deployment.images}",
    )
    status, out, _ = run("check")
    assert status == 0
    of_ours = f"of imageapi {importlib.metadata.version('imageapi')}): ok"
    assert out.splitlines() == [
        f"registry 'file' (driver 'file' {of_ours}, directory {deployment.registry}",
        f"store 'fast' (driver 'file' {of_ours}, directory {deployment.images}",
        f"store 'file' (driver 'file' {of_ours}, directory {deployment.images}",
        f"policy 'rules' (driver 'rules' {of_ours}, the default rules (policy_file is not set)",
    ]


@pytest.mark.parametrize(
    ("check", "told", "logged"),
    [
        (lambda: None, "check() must return a str, not NoneType", ""),
        (
            lambda: [][0],
            "store 'file' raised IndexError",
            "IndexError: list index",
        ),
    ],
)
def test_bug_of_a_backend(
    run: Run,
    check: Any,
    told: str,
    logged: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(FileStore, "check", lambda _self: check())
    status, out, _ = run("check")
    assert status == 1
    assert told in out
    assert logged in caplog.text
    assert ("Traceback" in caplog.text) is bool(logged)


def test_broken(deployment: Deployment, run: Run) -> None:
    deployment.images.rmdir()
    status, shown, _ = run("check")
    assert status == 1
    assert f"{deployment.images}: No such file or directory" in shown
    assert shown.count(": ok") == 2
