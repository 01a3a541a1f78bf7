# SPDX-License-Identifier: Apache-2.0
"""Files in a folder: their names, opening them without leaving the folder, and
detecting that they have changed.
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

# A file that is changed twice within one tick of the file system's clock keeps its
# times.  The coarsest clock in use (FAT's) ticks every two seconds.  So until then the
# times of a changed file do not identify its content.
SETTLED_NS = 2_000_000_000

# The errors that mean that a file does not exist.
NOTHING_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)

# The errors for what cannot be opened as a file, such as a link to itself or a socket.
NO_FILE = (errno.ELOOP, errno.ENXIO, errno.ENODEV)

# Names and paths in use are shorter.  Clients can send ids of any length.
_LONGEST_REMEMBERED = 200


def remembered(function: Callable[[str], str]) -> Callable[[str], str]:
    """Cache the results of a pure function of a string; bounded and thread-safe."""
    remembering = lru_cache(maxsize=4096)(function)

    @wraps(function)
    def recalled(text: str) -> str:
        return remembering(text) if len(text) <= _LONGEST_REMEMBERED else function(text)

    return recalled


@remembered
def file_name(image_id: str) -> str:
    """Return the file name of an image in a folder: its id, percent-encoded.

    Different ids have different names, and no name is a path: ``.`` and ``..`` are
    encoded too.
    """
    if image_id in (".", ".."):
        return image_id.replace(".", "%2E")
    return quote(image_id, safe="")


class StatSignature(NamedTuple):
    """The fields of a stat that change when a file's content changes."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> "StatSignature":
        """Take these fields from a stat or fstat."""
        return cls(
            status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
        )

    def is_of(self, status: os.stat_result) -> bool:
        """Whether a stat or fstat has the same fields; called at each request."""
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
        """Whether any later change would change the times."""
        return time.time_ns() - max(self.modified_ns, self.changed_ns) > SETTLED_NS


# Without O_NONBLOCK, opening a FIFO would wait for its writer.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def open_below(folder: str, path: str) -> int:
    """Open a file below the folder; follow links, but not out of the folder.

    A file directly in the folder is opened by one system call that follows no
    link.  Any other path is resolved first, and then opened name by name, so
    that a link created meanwhile is not followed either.

    :param folder: an absolute path, as in the configuration.
    :param path: an absolute path.
    :returns: a descriptor of a file of any type; the caller closes it.
    :raises LocationRefused: the path is not below the folder.
    :raises OSError: the file cannot be opened.
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
    """Whether a path is below a folder, judged by its text alone."""
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
    """Return the path of the folder that a section names, without ``.`` and ``..``.

    :raises ConfigurationError: the value is not an absolute path.
    """
    directory: str = conf[group].directory
    if "\0" in directory:
        raise ConfigurationError(["directory: must not contain a NUL character"])
    if not directory:
        raise ConfigurationError(
            ["directory: is empty; set it to an absolute path, or remove the line for the default"]
        )
    # A relative path would mean another folder wherever the process is started.
    if not os.path.isabs(directory):
        raise ConfigurationError(
            [f"directory: {directory!r} is a relative path; write an absolute path, from / on"]
        )
    return os.path.abspath(directory)


def check_folder(folder: str) -> str:
    """Test whether files in a folder can be opened; return the text for the operator.

    :raises BackendUnavailable: they cannot.
    """
    try:
        os.close(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    except OSError as error:
        raise BackendUnavailable(f"{folder}: {error.strerror}") from None
    if not os.access(folder, os.X_OK):
        raise BackendUnavailable(f"{folder}: no permission to open files in it (chmod +x)")
    return f"directory {folder}"
