# SPDX-License-Identifier: Apache-2.0
"""Which files of a folder are new, changed or gone since the last list of its images.

The folder's entries are read only if the folder has changed.  An entry with another inode
is a new or a replaced file.  A file that was changed in place is found by its stat.  At
each list, only some files have their turn to be examined in this way.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import TypeAlias

from imageapi.backends.file.folder import NO_FILE, NOTHING_THERE, StatSignature
from imageapi.backends.file.listed_record import (
    IndexedFile,
    ListedRecord,
    SharedValues,
    listed_record,
    packed,
)
from imageapi.backends.file.record_file import SUFFIX, image_id_of, read_record
from imageapi.errors import BackendUnavailable, LocationRefused, MalformedImage
from imageapi.image import Image

LOG = logging.getLogger(__name__)

#: Is called with the old and the new state of a file; None for no file.
Changed: TypeAlias = Callable[[IndexedFile | None, IndexedFile | None], None]

# If there are enough lists, each file has its turn within this time.
_ROUND_SECONDS = 10.0

# How many files have their turn at each list, even if less are due.
_LEAST_TURNS = 1000

# If so many files are due that they take longer, the rest waits for the next list.
_LONGEST_TURNS_SECONDS = 0.1

# So many files are parsed at each list while their stat cannot show a change.  With more,
# each is parsed again when it can.
_FEW_UNSETTLED = 100

# How many files one list logs as malformed.  The first list may find thousands.
_MOST_WARNINGS = 20


class IndexedFiles:
    """The files of a folder, as far as lists need them.  Not thread-safe."""

    def __init__(self, directory: str, changed: Changed) -> None:
        self._directory = directory
        self._changed = changed
        # By the file's name, without its suffix.
        self._files: dict[str, IndexedFile] = {}
        # Names of files that can change without a change of their stat.
        self._unsettled: set[str] = set()
        # The folder whose entries are known; None if it can change without a change of its stat.
        self._seen: StatSignature | None = None
        # The folder's device and inode.
        self._folder = (0, 0)
        self._turns = _turns(self._files)
        self._last_turns = time.monotonic()
        self._shared = SharedValues()
        self._warnings = 0

    def __iter__(self) -> Iterator[IndexedFile]:
        return iter(self._files.values())

    def refresh(self) -> None:
        """Bring all files up to date; call `Changed` for those that have changed.

        :raises BackendUnavailable: the folder or a file cannot be read for now.
        """
        self._warnings = 0
        try:
            self._read_entries()
            self._check_unsettled()
            self._check_in_turn()
        except OSError as error:
            raise BackendUnavailable(f"{self._directory}: {error.strerror}") from None
        finally:
            if self._warnings > _MOST_WARNINGS:
                LOG.warning(
                    "%s: lists also leave out %d other records. To see their problems,"
                    " run imageapi verify --all",
                    self._directory,
                    self._warnings - _MOST_WARNINGS,
                )

    def read_again(self, stem: str) -> bool:
        """Bring one file up to date; return whether lists have its record.

        :param stem: the file's name without its suffix.
        :raises BackendUnavailable: as for `refresh`.
        """
        self._warnings = 0
        if stem in self._files:
            self._read(stem, self._files[stem].inode)
        return isinstance(self._files.get(stem), ListedRecord)

    def _read_entries(self) -> None:
        seen = StatSignature.of(os.stat(self._directory))
        if seen == self._seen:
            return
        # Before the entries are read, because they may change while they are read.
        shows_next_change = seen.shows_next_change()
        # Files of two file systems can have the same inode.
        is_same = (seen.device, seen.inode) == self._folder
        gone = set(self._files)
        new = []
        with os.scandir(self._directory) as entries:
            for entry in entries:
                name = entry.name
                if not name.endswith(SUFFIX):
                    continue
                stem = name[: -len(SUFFIX)]
                known = self._files.get(stem)
                if known is not None:
                    gone.discard(stem)
                    if is_same and known.inode == entry.inode():
                        continue
                new.append((stem, entry.inode()))
        for stem in gone:
            self._unsettled.discard(stem)
            self._changed(self._files.pop(stem), None)
        for stem, inode in new:
            self._read(stem, inode)
        self._folder = (seen.device, seen.inode)
        self._seen = seen if shows_next_change else None

    def _check_unsettled(self) -> None:
        is_few = len(self._unsettled) <= _FEW_UNSETTLED
        for stem in tuple(self._unsettled):
            signature = self._signature(self._path(stem))
            known = self._files[stem]
            settled = signature is None or signature.shows_next_change()
            if is_few or settled or packed(signature) != known.signature:
                self._read(stem, known.inode)

    def _check_in_turn(self) -> None:
        now = time.monotonic()
        due = int(len(self._files) * (now - self._last_turns) / _ROUND_SECONDS)
        count = min(len(self._files), max(_LEAST_TURNS, due))
        self._last_turns = now
        for stem in islice(self._turns, count):
            known = self._files.get(stem)
            if known and packed(self._signature(self._path(stem))) != known.signature:
                self._read(stem, known.inode)
            if time.monotonic() - now > _LONGEST_TURNS_SECONDS:
                break

    def _read(self, stem: str, inode: int) -> None:
        image_id = image_id_of(stem + SUFFIX)
        if image_id is None:
            return
        path = self._path(stem)
        signature, shows_next_change = None, True
        found: Image | MalformedImage | None
        try:
            signature, found, shows_next_change = read_record(self._directory, path, image_id)
        except LocationRefused as error:
            found = MalformedImage(str(error))
        except OSError as error:
            found = self._unreadable(path, error)
        state = packed(signature or self._signature(path))
        old = self._files.get(stem)
        if isinstance(found, MalformedImage) and (old is None or old.signature != state):
            self._warn(found)
        if shows_next_change:
            self._unsettled.discard(stem)
        else:
            self._unsettled.add(stem)
        new = IndexedFile(inode, state)
        if isinstance(found, Image):
            new = listed_record(found, inode, state, self._shared)
        self._files[stem] = new
        self._changed(old, new)

    def _unreadable(self, path: str, error: OSError) -> MalformedImage | None:
        """Return why a file is in no list; None if it does not exist.

        :raises BackendUnavailable: the reason may concern all files.
        """
        if error.errno in NOTHING_THERE and os.path.isdir(self._directory):
            return None
        if error.errno in NO_FILE:
            return MalformedImage(f"{path}: not a regular file")
        # One file with wrong permissions must not make all lists fail.
        if isinstance(error, PermissionError) and os.access(self._directory, os.X_OK):
            return MalformedImage(f"{path}: {error.strerror}")
        raise BackendUnavailable(f"{path}: {error.strerror}") from None

    def _signature(self, path: str) -> StatSignature | None:
        """Return the state of a file, or of a link's target; None if there is none."""
        try:
            return StatSignature.of(os.stat(path))
        except OSError as error:
            self._unreadable(path, error)
            return None

    def _warn(self, problem: MalformedImage) -> None:
        self._warnings += 1
        if self._warnings <= _MOST_WARNINGS:
            LOG.warning("lists leave out a record: %s", problem)

    def _path(self, stem: str) -> str:
        return f"{self._directory}/{stem}{SUFFIX}"


def _turns(files: Mapping[str, IndexedFile]) -> Iterator[str]:
    """Return the names of all files, again and again.  Ask only while there are files."""
    while True:
        yield from tuple(files)
