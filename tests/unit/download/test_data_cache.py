# SPDX-License-Identifier: Apache-2.0
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imageapi.caller import ANONYMOUS
from imageapi.download import data_cache
from imageapi.download.data_cache import CachedLocation, DataCache, cache_name_of
from imageapi.download.store_choice import DataLocation
from imageapi.image import Image
from tests.cached import CachedDeployment, api_of
from tests.deployment import get
from tests.property_protections import ALL

DATA = bytes(300_000)


def cache_in(api: Any) -> DataCache:
    cache = api._opener._cache
    assert isinstance(cache, DataCache)
    return cache


def location_in(api: Any, image: Image) -> DataLocation | CachedLocation:
    (location,) = api._views.of(image, ALL).locations
    return cache_in(api).around(location, image)


@pytest.mark.parametrize(
    "fields",
    [{"checksum": None}, {"size": None}, {"size": 0}, {"checksum": "../../x", "_is_checked": True}],
)
def test_what_cannot_be_named_is_not_kept(tmp_path: Path, fields: dict[str, Any]) -> None:
    image = Image(**{"id": "i", "status": "active", "size": 5, "checksum": "ab" * 16, **fields})
    with api_of(CachedDeployment(tmp_path / "d")) as api:
        assert isinstance(location_in(api, image), DataLocation)


def test_a_location_looks_like_its_origin(tmp_path: Path) -> None:
    image = Image(id="i", status="active", size=5, checksum="ab" * 16)
    with api_of(CachedDeployment(tmp_path / "d")) as api:
        location = location_in(api, image)
        assert isinstance(location, CachedLocation)
        assert str(location) == "store 'file'"
        assert location.recorded.url.endswith("/images/i")
        assert location.store.name == "file"


def test_the_number_of_fills_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_cache, "_MOST_FILLS", 0)
    deployment = CachedDeployment(tmp_path / "d")
    deployment.add_hashed("i", DATA)
    with api_of(deployment) as api:
        assert get(api, "/v1/images/i").body == DATA
    assert deployment.names() == []


def test_a_thread_that_cannot_start_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    deployment = CachedDeployment(tmp_path / "d")
    deployment.add_hashed("i", DATA)
    with api_of(deployment) as api:
        monkeypatch.setattr(threading.Thread, "start", fail)
        with pytest.raises(RuntimeError):
            get(api, "/v1/images/i")
        monkeypatch.undo()
        assert deployment.names() == []
        assert get(api, "/v1/images/i").body == DATA


def test_after_close_nothing_is_filled(tmp_path: Path) -> None:
    deployment = CachedDeployment(tmp_path / "d")
    deployment.add_hashed("i", DATA)
    with api_of(deployment) as api:
        cache_in(api).close()
        assert get(api, "/v1/images/i").body == DATA
    assert deployment.names() == []


def test_discard_removes_kept_data(tmp_path: Path) -> None:
    deployment = CachedDeployment(tmp_path / "d")
    deployment.add_hashed("i", DATA)
    with api_of(deployment) as api:
        assert get(api, "/v1/images/i").body == DATA
        deployment.wait_until_kept()
        image = api.backends.registry.backend.get("i", ANONYMOUS)
        location = location_in(api, image)
        assert isinstance(location, CachedLocation)
        cache_in(api).discard(location)
        assert deployment.names() == []
        cache_in(api).discard(location)


def test_waiting_for_data_that_nobody_fills(tmp_path: Path) -> None:
    deployment = CachedDeployment(tmp_path / "d")
    deployment.add_hashed("i", DATA)
    with api_of(deployment) as api:
        location = location_in(api, api.backends.registry.backend.get("i", ANONYMOUS))
        assert isinstance(location, CachedLocation)
        assert not cache_in(api).wait_until_kept(location)
        assert get(api, "/v1/images/i").body == DATA
        assert cache_in(api).wait_until_kept(location)
        for path in deployment.cache.glob("sha512*"):
            path.unlink()
        (deployment.cache / f"{location.name}.part").touch()  # of a process that was killed
        assert not cache_in(api).wait_until_kept(location)


def test_waiting_in_a_folder_that_cannot_be_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    deployment = CachedDeployment(tmp_path / "d")
    deployment.add_hashed("i", DATA)
    with api_of(deployment) as api:
        location = location_in(api, api.backends.registry.backend.get("i", ANONYMOUS))
        assert isinstance(location, CachedLocation)
        (deployment.cache / location.name).symlink_to("elsewhere")
        assert not cache_in(api).wait_until_kept(location)
    assert "cannot be used" in caplog.text


def test_the_name_in_the_cache(tmp_path: Path) -> None:
    image = Image(id="i", status="active", size=5, checksum="ab" * 16)
    with api_of(CachedDeployment(tmp_path / "d")) as api:
        location = location_in(api, image)
        assert isinstance(location, CachedLocation)
        assert cache_name_of(location.origin, image) == location.name
        assert cache_name_of(location.origin, replace(image, size=None)) is None
