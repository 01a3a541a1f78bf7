# SPDX-License-Identifier: Apache-2.0
import hashlib
import io
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from imageapi.backends.writing import HashingReader, WriteError

DATA = b"0123456789"


def test_counts_and_hashes_what_was_read() -> None:
    progress: list[int] = []
    new = HashingReader(io.BytesIO(DATA), progress.append)
    while new.read(4):
        pass
    digests = new.digests()
    assert digests.size == 10
    assert digests.md5 == hashlib.md5(DATA).hexdigest()
    assert digests.sha512 == hashlib.sha512(DATA).hexdigest()
    assert progress == [4, 4, 2, 0]


def test_only_a_regular_file_has_an_expected_size(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(DATA)
    with path.open("rb") as source:
        source.seek(4)
        assert HashingReader(source, print).expected_size() == 6
    assert HashingReader(io.BytesIO(DATA), print).expected_size() is None


def test_data_that_cannot_be_read_is_a_write_error() -> None:
    class Broken:
        def read(self, size: int) -> bytes:
            raise OSError(5, "Input/output error")

    new = HashingReader(cast(BinaryIO, Broken()), lambda _: None)
    with pytest.raises(WriteError, match="the data cannot be read: Input/output error"):
        new.read(1)
