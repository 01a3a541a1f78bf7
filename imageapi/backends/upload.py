# SPDX-License-Identifier: Apache-2.0
"""What all stores need to add an image: its data, which is read once, and its record."""

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
    """The image was not added, and no part of it remains."""


class HashingReader:
    """The data of an image to add: counts and hashes the bytes as they are read."""

    def __init__(self, source: BinaryIO, progress: Callable[[int], object]) -> None:
        """Prepare; read nothing yet.

        :param progress: is called with the number of bytes of each chunk.
        """
        self._source = source
        self._progress = progress
        self._size = 0
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha512 = hashlib.sha512()

    def expected_size(self) -> int | None:
        """Return the number of bytes still to read; None if unknown before the end."""
        try:
            status = os.fstat(self._source.fileno())
            if stat.S_ISREG(status.st_mode):
                return max(status.st_size - self._source.tell(), 0)
        except OSError:
            pass  # not a real file, such as one in memory
        return None

    def read(self, size: int) -> bytes:
        """Return the next bytes, at most ``size`` of them; no bytes at the end.

        :raises UploadError: the data cannot be read.
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
        """Return the image with the size and hashes of its data, once all of it was read."""
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


#: A function that adds an image.  It gets the image's details and its data, and returns
#: the image as it was recorded.  It raises UploadError.
Adder = Callable[[Image, HashingReader], Image]


def record_of(image: Image) -> bytes:
    """Return the record document that ``imageapi add`` writes for a registry."""
    text = json.dumps({"images": [document.record(image)]}, ensure_ascii=False, indent=2)
    return text.encode() + b"\n"
