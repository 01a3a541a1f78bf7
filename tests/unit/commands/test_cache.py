# SPDX-License-Identifier: Apache-2.0
import contextlib

import pytest

from imageapi.cache.folder import CacheFolder
from tests.cached import CachedDeployment
from tests.deployment import Deployment
from tests.unit.commands.conftest import Run

DATA = bytes(1000)


def cache_folder_of(cached: CachedDeployment) -> CacheFolder:
    return CacheFolder(str(cached.cache), 10**9, 0)


@pytest.mark.parametrize(
    "words", [["list"], ["prefetch", "i"], ["remove", "i"], ["prune"], ["clear"], ["verify"]]
)
def test_no_cache(run: Run, words: list[str]) -> None:
    problem = "imageapi: no cache is configured: set directory in [imageapi_cache]\n"
    assert run("cache", *words) == (1, "", problem)


@pytest.mark.parametrize("word", ["list", "prune", "clear", "verify"])
def test_folder_that_is_missing(cached_deployment: CachedDeployment, run: Run, word: str) -> None:
    cached_deployment.cache.rmdir()
    problem = f"imageapi: {cached_deployment.cache}: No such file or directory\n"
    assert run("cache", word) == (1, "", problem)


def test_a_sub_command_is_needed(run: Run) -> None:
    assert run("cache")[0] == 2


def test_config_file_after_the_sub_command(
    deployment: Deployment, cached_deployment: CachedDeployment, run: Run
) -> None:
    config = cached_deployment.config_file
    deployment.config_file = deployment.folder / "imageapi.conf"
    assert run("cache", "list")[0] == 1
    assert run("cache", "list", "--config-file", str(config))[0] == 0


def test_prune(cached_deployment: CachedDeployment, run: Run) -> None:
    cached_deployment.add_hashed("i", DATA)
    cached_deployment.add_hashed("j", b"j" * 1000)
    assert run("cache", "prefetch", "i", "j")[0] == 0
    left = cached_deployment.cache / f"{cached_deployment.name_of(b'left')}.part"
    left.touch()
    filling = cache_folder_of(cached_deployment).fill(cached_deployment.name_of(b"filled"))
    assert filling is not None
    cached_deployment.configure(more="max_size = 1500\n")
    assert run("cache", "prune")[:2] == (
        0,
        (
            f"removed: {left.stem}, which nobody was filling any more\n"
            f"removed: {cached_deployment.name_of(DATA)}\n"
            "files removed: 1, bytes: 1000\n"
        ),
    )
    assert cached_deployment.names() == sorted(
        [
            f"{cached_deployment.name_of(b'filled')}.part",
            cached_deployment.name_of(b"j" * 1000),
            f"{cached_deployment.name_of(b'j' * 1000)}.ok",
        ]
    )
    filling.discard()
    assert run("cache", "prune") == (0, "files removed: 0, bytes: 0\n", "")


def test_clear(cached_deployment: CachedDeployment, run: Run) -> None:
    cached_deployment.add_hashed("i", DATA)
    assert run("cache", "prefetch", "i")[0] == 0
    name, filled = cached_deployment.name_of(DATA), cached_deployment.name_of(b"filled")
    folder = cache_folder_of(cached_deployment)
    filling, file = folder.fill(filled), folder.open_kept(name)
    assert filling is not None
    assert file is not None
    (cached_deployment.cache / f"{cached_deployment.name_of(b'left')}.ok").touch()
    status, out, _ = run("cache", "clear")
    assert (status, out) == (
        0,
        f"removed: {name}\nfiles removed: 1, bytes: 1000\nkept: {filled}, which is being filled\n",
    )
    assert cached_deployment.names() == [f"{filled}.part"]
    with contextlib.closing(file):
        assert file.read(0, 2000) == DATA
    filling.discard()
