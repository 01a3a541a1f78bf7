# SPDX-License-Identifier: Apache-2.0
import threading
from typing import Any

import pytest

from imageapi.cache.folder import CacheFolder
from tests.cached import CachedDeployment, Opens, api_of
from tests.deployment import get
from tests.unit.commands.conftest import Run

DATA = bytes(range(256)) * 3000


def test_a_hit_afterwards_needs_no_request(
    cached_deployment: CachedDeployment, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached_deployment.add_hashed("i", DATA)
    cached_deployment.add_hashed("j", b"small")
    assert run("cache", "prefetch", "i", "j") == (
        0,
        "i: is in the cache now\nj: is in the cache now\n",
        "",
    )
    assert len(cached_deployment.kept()) == 2
    opens = Opens(monkeypatch)
    with api_of(cached_deployment) as api:
        assert get(api, "/v1/images/i").body == DATA
        assert get(api, "/v1/images/j").body == b"small"
    assert run("cache", "prefetch", "i") == (0, "i: is in the cache already\n", "")
    assert opens.parts == []


def test_no_cache(run: Run) -> None:
    problem = "imageapi: no cache is configured: set directory in [imageapi_cache]\n"
    assert run("cache", "prefetch", "i") == (1, "", problem)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"status": "queued"}, "its status is queued: only active images can be downloaded"),
        ({"deleted": True}, "its status is deleted: only active images can be downloaded"),
        ({"size": None}, "its data is not kept, because its record has no size"),
        (
            {"checksum": None, "os_hash_algo": None, "os_hash_value": None},
            "its data is not kept, because its record has no valid hash of it",
        ),
        ({"size": 5}, "the data is 768000 bytes, not 5 as its record says"),
    ],
)
def test_data_that_is_not_kept(
    cached_deployment: CachedDeployment, run: Run, fields: dict[str, Any], told: str
) -> None:
    cached_deployment.add_hashed("i", DATA, **fields)
    cached_deployment.add_hashed("j", b"right")
    status, out, err = run("cache", "prefetch", "i", "j")
    assert (status, out) == (1, "j: is in the cache now\n")
    assert f"imageapi: image i: {told}" in err
    assert [path.name for path in cached_deployment.kept()] == [cached_deployment.name_of(b"right")]


@pytest.mark.parametrize("size", [5, len(DATA)])
def test_wrong_data(cached_deployment: CachedDeployment, run: Run, size: int) -> None:
    """The fill may have failed before the command reads, or it fails meanwhile."""
    cached_deployment.add_hashed("i", DATA[:size], os_hash_value="ab" * 64)
    status, out, err = run("cache", "prefetch", "i")
    assert (status, out) == (1, "")
    assert "sha512" in err
    assert "do not fit" not in err
    assert cached_deployment.names() == []


def test_absent(cached_deployment: CachedDeployment, run: Run) -> None:
    status, _, err = run("cache", "prefetch", "i")
    assert status == 1
    assert err.startswith("imageapi: image i: no record")


def test_empty(cached_deployment: CachedDeployment, run: Run) -> None:
    cached_deployment.add("i", b"")
    told = "i: has no data: there is nothing to fetch\n"
    assert run("cache", "prefetch", "i") == (0, told, "")


def test_store_that_is_not_named(cached_deployment: CachedDeployment, run: Run) -> None:
    cached_deployment.add_hashed("i", DATA)
    text = cached_deployment.config_file.read_text()
    cached_deployment.config_file.write_text(text.replace("stores = file\n", ""))
    status, _, err = run("cache", "prefetch", "i")
    told = "data of the store 'file' is not kept: name it in stores of [imageapi_cache]"
    assert (status, err) == (1, f"imageapi: image i: {told}\n")


def test_data_that_does_not_fit(cached_deployment: CachedDeployment, run: Run) -> None:
    cached_deployment.configure(more="max_size = 100000\n")
    cached_deployment.add_hashed("i", DATA)
    status, _, err = run("cache", "prefetch", "i")
    assert status == 1
    assert "imageapi: image i: its 768000 bytes do not fit: raise max_size in" in err
    assert cached_deployment.names() == []


def test_folder_that_is_missing(cached_deployment: CachedDeployment, run: Run) -> None:
    cached_deployment.add_hashed("i", DATA)
    cached_deployment.cache.rmdir()
    status, _, err = run("cache", "prefetch", "i")
    assert status == 1
    assert f"image i: {cached_deployment.cache}: No such file or directory" in err


def test_another_process_that_fills(cached_deployment: CachedDeployment, run: Run) -> None:
    """The command ends when the verification is written down, and not before."""
    cached_deployment.add_hashed("i", DATA)
    other = CacheFolder(str(cached_deployment.cache), 10**9, 0)
    filling = other.fill(cached_deployment.name_of(DATA))
    assert filling is not None
    filling.write(DATA)
    timer = threading.Timer(0.3, filling.keep)
    timer.start()
    assert run("cache", "prefetch", "i") == (0, "i: is in the cache now\n", "")
    assert len(cached_deployment.kept()) == 1
    timer.join()
