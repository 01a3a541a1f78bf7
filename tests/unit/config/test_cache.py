# SPDX-License-Identifier: Apache-2.0
from contextlib import closing
from pathlib import Path

import pytest

import imageapi
from imageapi.cache.settings import CacheSettings
from imageapi.config import plugins
from imageapi.errors import ConfigurationError

CONFIG = """\
[imageapi]
stores = file, web:http, other:http
policy = visible
[imageapi_cache]
"""


def settings_in(folder: Path, text: str) -> CacheSettings | None:
    path = folder / "imageapi.conf"
    path.write_text(CONFIG + text)
    with closing(plugins.load(imageapi.load_config([path]))) as backends:
        return backends.cache


def test_without_a_folder_there_is_no_cache(tmp_path: Path) -> None:
    assert settings_in(tmp_path, "max_size = 5") is None


def test_stores_other_than_files_are_kept_by_default(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, "directory = /cache")
    assert settings is not None
    assert settings.folder.directory == "/cache"
    assert settings.stores == {"web", "other"}
    assert settings.chunk_size == 65536


def test_stores_can_be_chosen(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, "directory = /cache\nstores = file, web")
    assert settings is not None
    assert settings.stores == {"file", "web"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("directory = cache", "directory: 'cache' is a relative path"),
        ("directory =", "directory: is empty"),
        ("directory = /c\nstores = wbe", "stores: 'wbe' is no store in [imageapi] stores"),
        ("directory = /c\nmax_size = 0", "max_size: "),
        ("directory = /c\nmax_size = 10G", "max_size: "),
        ("directory = /c\nmin_free = -1", "min_free: "),
        ("directory = /c\nmaxsize = 1", "maxsize: there is no such option"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        settings_in(tmp_path, text)
    assert [one for one in caught.value.problems if f"[imageapi_cache] {problem}" in one]
