# SPDX-License-Identifier: Apache-2.0
"""Data of a given size in the folder of a cache."""

from imageapi.cache.folder import CacheFolder, Filling


def name_for(number: int, size: int) -> str:
    """A name of data of this size."""
    return f"sha256.{number:064x}.{size}"


def begun(folder: CacheFolder, name: str) -> Filling:
    """Begin to fill a file; the test keeps or discards it."""
    filling = folder.fill(name)
    assert filling is not None
    return filling


def keep(folder: CacheFolder, name: str, data: bytes) -> None:
    """Put complete data into the folder."""
    filling = begun(folder, name)
    filling.write(data)
    filling.keep()
