# SPDX-License-Identifier: Apache-2.0
import hashlib
import io
import json
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from imageapi import document
from imageapi.backends.upload import HashingReader, UploadError, record_of
from imageapi.image import Image

DATA = b"0123456789"


def test_an_image_gets_the_size_and_hashes_of_what_was_read() -> None:
    progress: list[int] = []
    new = HashingReader(io.BytesIO(DATA), progress.append)
    while new.read(4):
        pass
    image = new.complete(Image(id="i", status="queued"))
    assert (image.status, image.size, image.checksum) == (
        "active",
        10,
        hashlib.md5(DATA).hexdigest(),
    )
    assert (image.os_hash_algo, image.os_hash_value) == ("sha512", hashlib.sha512(DATA).hexdigest())
    assert progress == [4, 4, 2, 0]


def test_only_a_regular_file_has_an_expected_size(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(DATA)
    with path.open("rb") as source:
        source.seek(4)
        assert HashingReader(source, print).expected_size() == 6
    assert HashingReader(io.BytesIO(DATA), print).expected_size() is None


def test_data_that_cannot_be_read_is_an_upload_error() -> None:
    class Broken:
        def read(self, size: int) -> bytes:
            raise OSError(5, "Input/output error")

    new = HashingReader(cast(BinaryIO, Broken()), lambda _: None)
    with pytest.raises(UploadError, match="the data cannot be read: Input/output error"):
        new.read(1)


def test_a_record_is_what_a_registry_parses() -> None:
    image = Image(id="ü", status="active", size=1, checksum="0" * 32)
    record = record_of(image)
    assert record.endswith(b"}\n")
    assert json.loads(record).keys() == {"images"}
    assert document.parse(record, "ü") == image
