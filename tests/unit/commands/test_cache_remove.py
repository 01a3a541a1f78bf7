# SPDX-License-Identifier: Apache-2.0
from imageapi.cache.folder import CacheFolder
from tests.cached import CachedDeployment
from tests.unit.commands.conftest import Run

DATA = bytes(1000)


def test_removes_what_the_record_names(cached_deployment: CachedDeployment, run: Run) -> None:
    cached_deployment.add_hashed("i", DATA)
    cached_deployment.add("md5", b"data of an MD5 alone")
    cached_deployment.add_hashed("stays", b"stays")
    assert run("cache", "prefetch", "i", "md5", "stays")[0] == 0
    assert run("cache", "remove", "i", "md5") == (0, "i: removed\nmd5: removed\n", "")
    name = cached_deployment.name_of(b"stays")
    assert cached_deployment.names() == [name, f"{name}.ok"]
    assert run("cache", "remove", "i") == (0, "i: is not in the cache\n", "")


def test_data_of_a_store_that_is_no_longer_named(
    cached_deployment: CachedDeployment, run: Run
) -> None:
    cached_deployment.add_hashed("i", DATA)
    assert run("cache", "prefetch", "i")[0] == 0
    text = cached_deployment.config_file.read_text()
    cached_deployment.config_file.write_text(text.replace("stores = file\n", ""))
    assert run("cache", "remove", "i") == (0, "i: removed\n", "")


def test_absent(cached_deployment: CachedDeployment, run: Run) -> None:
    cached_deployment.record("no-hash", size=5)
    status, out, err = run("cache", "remove", "absent", "no-hash")
    assert (status, out) == (1, "no-hash: is not in the cache\n")
    assert err.startswith("imageapi: image absent: no record")


def test_data_that_is_being_filled(cached_deployment: CachedDeployment, run: Run) -> None:
    cached_deployment.add_hashed("i", DATA)
    name = cached_deployment.name_of(DATA)
    filling = CacheFolder(str(cached_deployment.cache), 10**9, 0).fill(name)
    assert filling is not None
    status, out, err = run("cache", "remove", "i")
    assert (status, out) == (1, "")
    assert "image i: its data is being filled, and is not removed: repeat this when" in err
    assert cached_deployment.names() == [f"{name}.part"]
    filling.discard()
