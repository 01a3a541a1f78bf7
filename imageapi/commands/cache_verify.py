# SPDX-License-Identifier: Apache-2.0
"""The command ``cache verify``: hashes the data in the cache, and removes what is wrong."""

import argparse
import contextlib
import fcntl

from imageapi.cache.contents import Entry
from imageapi.cache.files import CacheFile, open_file
from imageapi.cache.folder import CacheFolder
from imageapi.cache.names import hash_in
from imageapi.commands import arguments
from imageapi.commands.configured import open_cache
from imageapi.commands.sources import interruptible, progress_bar
from imageapi.commands.terminal import tell
from imageapi.download.checksum import Checksum
from imageapi.errors import BackendError

_CHUNK_SIZE = 1024 * 1024


def add_parser(commands: arguments.Commands) -> None:
    """Add the command and its arguments to the command line."""
    parser = commands.add_parser(
        "verify",
        help="read the data in the cache, and remove what does not have its hash",
        description="The exit status is 1 if data was wrong. Downloads that read it are not"
        " affected. Data that is being filled is left out.",
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    files = problems = 0
    with open_cache(options) as (_, settings), interruptible():
        for entry in settings.folder.entries():
            if not entry.is_complete:
                continue
            file = open_file(settings.folder.path(entry.name), entry.name, entry.size)
            if file is None:
                continue  # removed meanwhile
            with contextlib.closing(file):
                # Its filler locks it until its verification is written down.
                if not file.lock(fcntl.LOCK_SH):
                    continue
                files += 1
                problems += not _is_right(settings.folder, entry, file)
    tell(f"files: {files}, problems: {problems}")
    return 1 if problems else 0


def _is_right(folder: CacheFolder, entry: Entry, file: CacheFile) -> bool:
    """Whether data is right; if not, print why, and remove it."""
    try:
        problem = _problem_of(folder, entry, file)
    except BackendError as error:
        tell(f"{entry.name}: {error}")
        return False
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    if not problem:
        return True
    folder.remove_file(entry.name, file.status())
    result = "it cannot be removed" if folder.is_complete(file) else "removed"
    tell(f"{entry.name}: {problem}: {result}")
    return False


def _problem_of(folder: CacheFolder, entry: Entry, file: CacheFile) -> str:
    """Return what is wrong with data; empty if it is right.

    :raises OSError: it cannot be read.
    :raises BackendError: this Python does not have the hash.
    """
    checksum = Checksum(*hash_in(entry.name))
    hasher = checksum.hasher()
    size = 0
    with progress_bar(entry.name[:20], entry.size) as bar:
        while chunk := file.read(size, _CHUNK_SIZE):
            hasher.update(chunk)
            size += len(chunk)
            bar.update(len(chunk))
    if size != entry.size:
        return f"it has {size} bytes, not {entry.size}"
    digest = hasher.hexdigest()
    if digest != checksum.digest:
        return f"its {checksum.algorithm} is {digest}"
    if not folder.is_verified(file):
        return "its hash is right, but its verification is not written down, or its times differ"
    return ""
