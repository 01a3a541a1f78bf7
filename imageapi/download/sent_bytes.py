# SPDX-License-Identifier: Apache-2.0
"""What a response has sent from the cache, when it must continue at the data's origin."""

from collections.abc import Callable
from contextlib import closing

from imageapi.backends.base import Blob
from imageapi.cache.blobs import CachedBlob
from imageapi.download.checksum import Hasher
from imageapi.errors import DataChanged, only_backend_errors

#: Opens the data at its origin: the offset, and the version that it must have.
Reopen = Callable[[int, str | None], Blob]


def hash_sent_bytes(
    hasher: Hasher, cached: CachedBlob, count: int, reopen: Reopen, location: object
) -> None:
    """Hash the first bytes of the data: those of the file that was being filled.

    Complete data was verified before its file was damaged.  So the bytes that were sent are
    those of the origin, if the whole has the right checksum.

    :param count: how many bytes.
    :param location: for the texts of errors.
    :raises BackendError: the bytes cannot be read.
    """
    if not cached.is_kept:
        for chunk in cached.first_bytes(count):
            hasher.update(chunk)
        return
    left = count
    if not left:
        return
    with only_backend_errors(location), closing(reopen(0, None)) as blob:
        for chunk in blob:
            hasher.update(chunk[:left])
            left -= min(left, len(chunk))
            if not left:
                break


def version_of_sent_bytes(
    sent: tuple[int, int], cached: CachedBlob, reopen: Reopen, location: object
) -> str:
    """Return the version of the origin that has the bytes that were sent.

    Nothing verifies such a response, so it must not mix two versions.

    :param sent: the offsets of the first byte that was sent, and after the last one.
    :param location: for the texts of errors.
    :raises DataChanged: the origin has other bytes, or does not name its version.
    :raises BackendError: the bytes cannot be read.
    """
    position, end = sent
    with only_backend_errors(location), closing(reopen(position, None)) as blob:
        for chunk in blob:
            count = min(len(chunk), end - position)
            if cached.bytes_at(position, count) != chunk[:count]:
                break
            position += count
            if position == end and blob.version is not None:
                return blob.version
    raise DataChanged("the bytes that were sent may be of another version")
