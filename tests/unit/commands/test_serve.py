# SPDX-License-Identifier: Apache-2.0
import sys

import pytest

from tests.unit.commands.conftest import Run


def test_serve_without_gunicorn(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imageapi.commands.server", None)
    status, _, err = run("serve")
    assert status == 1
    assert "pip install 'imageapi[server]'" in err
