# SPDX-License-Identifier: Apache-2.0
import pytest

from imageapi.download.closing import close_blob
from tests.unit.download.test_verified_stream import Chunks


class Unclosable(Chunks):
    def close(self) -> None:
        super().close()
        raise OSError("the disk is gone")


def test_closes() -> None:
    blob = Chunks(b"a")
    close_blob(blob, "i", "the store")
    assert blob.closed == 1


def test_an_error_is_only_logged(caplog: pytest.LogCaptureFixture) -> None:
    blob = Unclosable(b"a")
    close_blob(blob, "i", "the store")
    assert blob.closed == 1
    assert "image 'i': the store: closing failed" in caplog.text
    assert "the disk is gone" in caplog.text
