# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

import imageapi
from imageapi.backends import folder
from tests.deployment import Deployment
from tests.memory import Memory

# Its assertions are to tell what they found, as those of tests do.
pytest.register_assert_rewrite("tests.functional.framework_checks")

# A distribution of its own, whose tests run where it is installed: functional/test_plugin.py.
collect_ignore = ["plugin_dist"]

# How long an example takes says something of the machine, and nothing of the code.
settings.register_profile("imageapi", parent=settings(), deadline=None)
settings.load_profile("imageapi")


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    return Deployment(tmp_path / "deployment")


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that were written just now count as settled: no test waits for a clock tick."""
    monkeypatch.setattr(folder, "SETTLED_NS", -1)


@pytest.fixture
def api(deployment: Deployment) -> Iterator[imageapi.ImageAPI]:
    api = deployment.api()
    yield api
    api.close()


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    memory = Memory(tmp_path)
    yield memory
    memory.api.close()
