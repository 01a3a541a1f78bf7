# SPDX-License-Identifier: Apache-2.0
"""What adding an image has in common wherever it goes: its data, read once, and its record."""

import dataclasses
import hashlib
import json
import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from typing import BinaryIO

from imageapi import document
from imageapi.errors import ImageAPIError
from imageapi.image import Image


class UploadError(ImageAPIError):
    """The image was not added, and nothing of it was left behind."""


class HashingReader:
    """The data of an image that is added: counted and hashed as it is read."""

    def __init__(self, source: BinaryIO, progress: Callable[[int], object]) -> None:
        """Nothing is read yet.

        :param progress: called with the number of bytes of each chunk.
        """
        self._source = source
        self._progress = progress
        self._size = 0
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha512 = hashlib.sha512()

    def expected_size(self) -> int | None:
        """How many bytes there are still to read; None where only the end will tell."""
        try:
            status = os.fstat(self._source.fileno())
            if stat.S_ISREG(status.st_mode):
                return max(status.st_size - self._source.tell(), 0)
        except OSError:
            pass  # no file at all, such as one in memory
        return None

    def read(self, size: int) -> bytes:
        """The next bytes, so many at the most; none at the end.

        :raises UploadError: they cannot be read.
        """
        try:
            chunk = self._source.read(size)
        except OSError as error:
            raise UploadError(f"the data cannot be read: {error.strerror}") from None
        self._size += len(chunk)
        self._md5.update(chunk)
        self._sha512.update(chunk)
        self._progress(len(chunk))
        return chunk

    def complete(self, image: Image) -> Image:
        """The image with what is known of its data now that all of it was read."""
        now = datetime.now(UTC)
        return dataclasses.replace(
            image,
            status="active",
            size=self._size,
            checksum=self._md5.hexdigest(),
            os_hash_algo="sha512",
            os_hash_value=self._sha512.hexdigest(),
            created_at=now,
            updated_at=now,
        )


#: Adds an image: its details and its data in, the image as it was recorded out.
#: Raises UploadError.
Adder = Callable[[Image, HashingReader], Image]


def record_of(image: Image) -> bytes:
    """The document that a registry reads, as it is written by ``imageapi add``."""
    text = json.dumps({"images": [document.record(image)]}, ensure_ascii=False, indent=2)
    return text.encode() + b"\n"
