# SPDX-License-Identifier: Apache-2.0
import gc
import sys
import tracemalloc
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

import imageapi
from imageapi.backends.file import folder
from tests.deployment import Deployment
from tests.memory import Memory

# Its assertions are to tell what they found, as those of tests do.
pytest.register_assert_rewrite("tests.functional.framework_checks")

# A distribution of its own, whose tests run where it is installed: functional/test_plugin.py.
collect_ignore = ["plugin_dist"]

# How long an example takes says something of the machine, and nothing of the code.
settings.register_profile("imageapi", parent=settings(), deadline=None)
settings.load_profile("imageapi")


def pytest_collection_finish() -> None:
    """Keep modules and tests out of the collections that follow each test: they stay anyway."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Iterator[None]:
    """Fail the test that leaves a socket, file or process open, and not a later one.

    This runs after the fixtures have ended, those of the module and the session included.
    """
    yield
    # pytest keeps what a failed test raised, and with it all that the test had, until the next one.
    for name in ("last_type", "last_value", "last_traceback", "last_exc"):
        vars(sys).pop(name, None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        gc.collect()
    left = [_described(one) for one in caught if issubclass(one.category, ResourceWarning)]
    if left:
        pytest.fail("the test left open: " + "\n".join(left), pytrace=False)


def _described(warning: warnings.WarningMessage) -> str:
    """What was left open; and where it was opened, if Python runs with ``-X tracemalloc=20``."""
    opened = tracemalloc.get_object_traceback(warning.source)
    return "\n".join([str(warning.message), *(opened.format() if opened else ())])


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
