# SPDX-License-Identifier: Apache-2.0
import json
import os

import pytest

from imageapi.cache.folder import CacheFolder
from tests.cached import CachedDeployment
from tests.unit.commands.conftest import Run

DATA = bytes(1000)


@pytest.fixture
def cache_with_image(cached_deployment: CachedDeployment, run: Run) -> CachedDeployment:
    """Complete data, last used at second 1,000,000,000."""
    cached_deployment.add_hashed("i", DATA)
    assert run("cache", "prefetch", "i")[0] == 0
    (kept,) = cached_deployment.kept()
    os.utime(f"{kept}.ok", (1e9, 1e9))
    return cached_deployment


def test_table(cache_with_image: CachedDeployment, run: Run) -> None:
    name = cache_with_image.name_of(b"fills")
    filling = CacheFolder(str(cache_with_image.cache), 10**9, 0).fill(name)
    assert filling is not None
    os.utime(cache_with_image.cache / f"{name}.part", (1.1e9, 1.1e9))
    status, out, _ = run("cache", "list")
    filling.discard()
    assert status == 0
    assert out.splitlines() == [
        "           SIZE  LAST USE              STATE     NAME",
        f"           1000  2001-09-09T01:46:40Z  complete  {cache_with_image.name_of(DATA)}",
        f"              5  2004-11-09T11:33:20Z  filling   {name}",
    ]


def test_json(cache_with_image: CachedDeployment, run: Run) -> None:
    status, out, _ = run("cache", "list", "--json")
    assert status == 0
    assert json.loads(out) == {
        "size": 1000,
        "last_use": "2001-09-09T01:46:40Z",
        "state": "complete",
        "name": cache_with_image.name_of(DATA),
    }


def test_last_use_that_is_unknown(cache_with_image: CachedDeployment, run: Run) -> None:
    (kept,) = cache_with_image.kept()
    os.unlink(f"{kept}.ok")
    _, out, _ = run("cache", "list")
    assert out.splitlines()[1].split()[:3] == ["1000", "-", "complete"]
    assert json.loads(run("cache", "list", "--json")[1])["last_use"] is None
