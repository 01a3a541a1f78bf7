# SPDX-License-Identifier: Apache-2.0
import sys
from typing import Any

import pytest


def test_serve_without_gunicorn(
    run: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "imageapi.commands.server", None)
    assert run("serve") == 1
    assert "pip install 'imageapi[server]'" in capsys.readouterr().err
