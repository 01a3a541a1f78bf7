# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from typing import Any
from urllib.parse import quote

from imageapi.backends.file.store import FileStore
from imageapi.caller import ANONYMOUS
from imageapi.image import Location


def read_file(store: FileStore, path: Path | str, **wanted: Any) -> bytes:
    """The bytes that the store reads from a path; ``wanted`` goes to its ``open``."""
    blob = store.open(Location(f"file://{quote(str(path))}"), caller=ANONYMOUS, **wanted)
    try:
        return b"".join(blob)
    finally:
        blob.close()
