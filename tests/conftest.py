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

# pytest shows the values in its assertions, as in those of test modules.
pytest.register_assert_rewrite("tests.functional.framework_checks")

# The time of an example depends on the machine, so there is no limit.
settings.register_profile("imageapi", parent=settings(), deadline=None)
settings.load_profile("imageapi")


def pytest_collection_finish() -> None:
    """Exclude modules and tests from the garbage collection after each test: they stay anyway."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Fail the test that leaves a socket, file or process open, instead of a later test.

    This runs after all fixtures have ended, also those of the module and the session. What a
    module leaves, as imported modules, is excluded from later collections except the last one.
    """
    yield
    # pytest keeps the exception of a failed test until the next failure, and so the test's objects.
    for name in ("last_type", "last_value", "last_traceback", "last_exc"):
        vars(sys).pop(name, None)
    if nextitem is None:
        gc.unfreeze()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        gc.collect()
    if nextitem is None or nextitem.path != item.path:
        gc.freeze()
    left = [_described(one) for one in caught if issubclass(one.category, ResourceWarning)]
    if left:
        pytest.fail("the test left open: " + "\n".join(left), pytrace=False)


def _described(warning: warnings.WarningMessage) -> str:
    """What was left open. With ``-X tracemalloc=20`` it also says where it was opened."""
    opened = tracemalloc.get_object_traceback(warning.source)
    return "\n".join([str(warning.message), *(opened.format() if opened else ())])


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    return Deployment(tmp_path / "deployment")


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is trusted as soon as it is written, so that no test waits for a clock tick."""
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
