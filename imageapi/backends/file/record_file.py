# SPDX-License-Identifier: Apache-2.0
"""The file of a record: its name, and reading it."""

import os
import stat
from typing import NamedTuple
from urllib.parse import unquote

from imageapi import document
from imageapi.backends.file.folder import StatSignature, file_name, open_below
from imageapi.errors import MalformedImage
from imageapi.image import Image, is_image_id

LARGEST_RECORD = 1024 * 1024

SUFFIX = ".json"


class RecordFile(NamedTuple):
    """The result of parsing a file, valid as long as the file is the same.

    :ivar shows_next_change: whether the file's times will differ after any change since
        it was read.
    """

    identity: StatSignature
    found: Image | MalformedImage
    shows_next_change: bool


def image_id_of(name: str) -> str | None:
    """Return the id of the image whose record has this file name; None if no image has."""
    image_id = unquote(name.removesuffix(SUFFIX), errors="surrogateescape")
    if is_image_id(image_id) and f"{file_name(image_id)}{SUFFIX}" == name:
        return image_id
    return None


def read_record(folder: str, path: str, image_id: str) -> RecordFile:
    """Read and parse the file of a record.

    :param folder: that of the records; the file is below it.
    :raises LocationRefused: the path is a link out of the folder.
    :raises OSError: the file cannot be read.
    """
    descriptor = open_below(folder, path)
    try:
        status = os.fstat(descriptor)
        identity = StatSignature.of(status)
        # Before the file is read: it may change in between.
        shows_next_change = identity.shows_next_change()
        found: Image | MalformedImage
        if not stat.S_ISREG(status.st_mode):
            found = MalformedImage(f"{path}: not a regular file")
        elif status.st_size > LARGEST_RECORD:
            found = MalformedImage(f"{path}: the record is larger than {LARGEST_RECORD} bytes")
        else:
            found = document.found(os.read(descriptor, status.st_size), image_id, path)
    finally:
        os.close(descriptor)
    return RecordFile(identity, found, shows_next_change)
