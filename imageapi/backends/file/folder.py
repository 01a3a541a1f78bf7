# SPDX-License-Identifier: Apache-2.0
"""Files in a folder: their names, opening them without leaving it, and whether
they are still what they were.
"""

import errno
import os
import time
from collections.abc import Callable, Sequence
from functools import lru_cache, wraps
from typing import NamedTuple
from urllib.parse import quote

from oslo_config import cfg

from imageapi.errors import BackendUnavailable, ConfigurationError, LocationRefused

# A file changed twice within a file system's clock tick keeps its times.  The
# coarsest in use (FAT's) tick every two seconds, so the times of a file that
# changed just now identify nothing yet.
SETTLED_NS = 2_000_000_000

# How a system says that there is no such file.
NOTHING_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)

# How it says that what is there cannot be opened as a file: a link to itself, a socket.
NO_FILE = (errno.ELOOP, errno.ENXIO, errno.ENODEV)

# Names and paths in use are shorter; clients make up ids of any length.
_LONGEST_REMEMBERED = 200


def remembered(function: Callable[[str], str]) -> Callable[[str], str]:
    """Remember what a pure function made of texts; bounded, thread-safe."""
    remembering = lru_cache(maxsize=4096)(function)

    @wraps(function)
    def recalled(text: str) -> str:
        return remembering(text) if len(text) <= _LONGEST_REMEMBERED else function(text)

    return recalled


@remembered
def file_name(image_id: str) -> str:
    """The name under which a folder has an image: its id, percent-encoded.

    Injective, and never a path: ``.`` and ``..`` are encoded too.
    """
    if image_id in (".", ".."):
        return image_id.replace(".", "%2E")
    return quote(image_id, safe="")


class StatSignature(NamedTuple):
    """What tells a file's content from what it was before."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> "StatSignature":
        """The identity of a file by its stat or fstat."""
        return cls(
            status.st_dev,
            status.st_ino,
            status.st_size,
            status.st_mtime_ns,
            status.st_ctime_ns,
        )

    def is_of(self, status: os.stat_result) -> bool:
        """Whether a stat or fstat shows the very same; made at each request."""
        return (
            self.changed_ns == status.st_ctime_ns
            and self.modified_ns == status.st_mtime_ns
            and self.size == status.st_size
            and self.inode == status.st_ino
            and self.device == status.st_dev
        )

    def __str__(self) -> str:
        return f"{self[0]}:{self[1]}:{self[2]}:{self[3]}:{self[4]}"

    def shows_next_change(self) -> bool:
        """Whether a change from now on would show in the times."""
        return time.time_ns() - max(self.modified_ns, self.changed_ns) > SETTLED_NS


# Without O_NONBLOCK, opening a FIFO would wait for its writer.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def open_below(folder: str, path: str) -> int:
    """Open a file below the folder; links are followed, but not out of it.

    The plain case, a file right in the folder, is one system call that
    follows no link.  All others are resolved first and then opened name
    by name, so that a link put there meanwhile is not followed either.

    :param folder: an absolute path, as the configuration has it.
    :param path: an absolute path.
    :returns: a descriptor, of whatever lies there; the caller closes it.
    :raises LocationRefused: it is not below the folder.
    :raises OSError: it cannot be opened.
    """
    parent, _, name = path.rpartition("/")
    if parent == folder and name not in ("", ".", ".."):
        try:
            return os.open(path, _READ)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
    root = os.path.realpath(folder, strict=True)
    names = os.path.relpath(os.path.realpath(path, strict=True), root).split(os.sep)
    if names[0] in (os.pardir, os.curdir):
        raise LocationRefused(f"{path} is not below {folder}")
    return _open_names(root, names)


def is_below(folder: str, path: str) -> bool:
    """Whether a path is that of something below a folder, by how it is written."""
    path = os.path.normpath(path)
    parents = (folder, os.path.realpath(folder))
    return any(os.path.commonpath([parent, path]) == parent for parent in parents)


def _open_names(root: str, names: Sequence[str]) -> int:
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for name in names[:-1]:
        try:
            inner = os.open(name, _READ | os.O_DIRECTORY, dir_fd=folder)
        finally:
            os.close(folder)
        folder = inner
    try:
        return os.open(names[-1], _READ, dir_fd=folder)
    finally:
        os.close(folder)


def configured_folder(conf: cfg.ConfigOpts, group: str) -> str:
    """The absolute path of the folder that a section names.

    :raises ConfigurationError: it cannot be a path.
    """
    directory: str = conf[group].directory
    if "\0" in directory:
        raise ConfigurationError(["directory: must not contain a NUL character"])
    return os.path.abspath(directory)


def check_folder(folder: str) -> None:
    """Try whether files in a folder can be read.

    :raises BackendUnavailable: why not.
    """
    try:
        os.close(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    except OSError as error:
        raise BackendUnavailable(f"{folder}: {error.strerror}") from None
    if not os.access(folder, os.X_OK):
        raise BackendUnavailable(f"{folder}: no permission to open files in it (chmod +x)")
