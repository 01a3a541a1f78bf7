# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from imageapi.cache.folder import CacheFolder


@pytest.fixture
def cache_folder(tmp_path: Path) -> CacheFolder:
    return CacheFolder(str(tmp_path), max_size=1000, min_free=0)
