# SPDX-License-Identifier: Apache-2.0
"""The file store, but for this: what was opened stays open until it is closed.

Whoever forgets to close data is else helped by the garbage collector, and a
test that counts open files sees nothing.
"""

from pathlib import Path
from typing import Any

from imageapi.backends.base import Blob
from imageapi.backends.file.store import FileStore

ENTRY_POINT = f"[imageapi.store]\nkeeping = {__name__}:KeepingStore\n"


class KeepingStore(FileStore):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._kept: list[Blob] = []

    def open(self, *arguments: Any, **options: Any) -> Blob:
        blob = super().open(*arguments, **options)
        self._kept.append(blob)
        return blob


def install_keeping_store(folder: Path) -> None:
    """Let a process with this folder on its path know the store ``keeping``."""
    info = folder / "keeping_store-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: keeping-store\nVersion: 1\n")
    (info / "entry_points.txt").write_text(ENTRY_POINT)
