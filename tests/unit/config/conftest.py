# SPDX-License-Identifier: Apache-2.0
import sys
from pathlib import Path

import pytest

from tests.unit.config.installed import MODULES, TARGETS, install


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which acme-images and other-images are installed."""
    site = tmp_path / "site-packages"
    site.mkdir()
    for module, text in MODULES.items():
        (site / f"{module}.py").write_text(text)
        monkeypatch.delitem(sys.modules, module, raising=False)
    install(site, "acme-images", TARGETS)
    install(site, "other-images", {"twice": TARGETS["twice"]})
    monkeypatch.syspath_prepend(site)
    return site
