# SPDX-License-Identifier: Apache-2.0
"""A file store whose data stays open until it is closed.

Otherwise the garbage collector closes data that the code forgot to close, and a test
that counts open files notices nothing.
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
    """Install the store ``keeping`` for processes that have the folder on their path."""
    info = folder / "keeping_store-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: keeping-store\nVersion: 1\n")
    (info / "entry_points.txt").write_text(ENTRY_POINT)
