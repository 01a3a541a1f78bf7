# SPDX-License-Identifier: Apache-2.0
from imageapi.cache.folder import CacheFolder
from imageapi.cache.settings import CacheSettings


def test_holds_what_is_configured(cache_folder: CacheFolder) -> None:
    settings = CacheSettings(cache_folder, frozenset({"web"}), 65536)
    assert settings.folder is cache_folder
    assert "web" in settings.stores
