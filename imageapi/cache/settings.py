# SPDX-License-Identifier: Apache-2.0
"""The cache that is configured."""

from collections.abc import Collection
from typing import NamedTuple

from imageapi.cache.folder import CacheFolder


class CacheSettings(NamedTuple):
    """A cache.

    :ivar stores: the names of the stores whose data is kept.
    :ivar chunk_size: how many bytes are read at a time.
    """

    folder: CacheFolder
    stores: Collection[str]
    chunk_size: int
