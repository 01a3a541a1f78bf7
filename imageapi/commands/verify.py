# SPDX-License-Identifier: Apache-2.0
"""The command ``verify``: reads all data, and finds what records and data lack."""

import argparse
import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from imageapi.backends.writing import Leftover
from imageapi.commands import arguments
from imageapi.commands.configured import OPERATOR, config_of
from imageapi.commands.listed import ids_of, known_ids
from imageapi.commands.sources import interruptible, progress_bar
from imageapi.commands.terminal import log_bug, tell
from imageapi.config import plugins
from imageapi.config.options import GROUP
from imageapi.config.plugins import Backends
from imageapi.document.unknown_keys import notes_of
from imageapi.download.checksum import checksum_of
from imageapi.download.closing import close_blob
from imageapi.download.opener import Opener
from imageapi.download.store_choice import DataLocation, UnusableLocation, data_locations_of
from imageapi.download.unsafe_formats import danger_in
from imageapi.download.unsafe_images import DataParts
from imageapi.errors import (
    BackendError,
    ImageAPIError,
    ImageNotFound,
    UnsafeImage,
    WrongHash,
    only_backend_errors,
)
from imageapi.image import Image, Location

# Younger data without a record may be that of an image that is being added.
_OLD_SECONDS = 24 * 3600

_AnyLocation: TypeAlias = DataLocation | UnusableLocation

_WITH_DATA = frozenset({"active", "deactivated"})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.add_argument("ids", metavar="ID", nargs="*", type=arguments.image_id)
    parser.add_argument(
        "--all", action="store_true", help="verify every image, and find data without a record"
    )
    parser.add_argument(
        "--remove-orphans",
        action="store_true",
        help="with --all: remove data without a record that is older than a day. Only for stores"
        " that no other registry uses",
    )
    parser.set_defaults(run=lambda options: _run(options, parser))


def _run(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    if bool(options.ids) == options.all or (options.remove_orphans and not options.all):
        parser.error("name images, or give --all; --remove-orphans needs --all")
    conf = config_of(options)
    with contextlib.closing(plugins.load(conf)) as backends, interruptible():
        finds_unsafe = conf[GROUP].unsafe_images != "serve"
        verification = _Verification(backends, finds_unsafe=finds_unsafe)
        for image_id in ids_of(backends.registry) if options.all else options.ids:
            verification.verify(image_id, may_be_gone=options.all)
        if options.all:
            verification.find_orphans(remove=options.remove_orphans)
    tell(f"images: {verification.images}, problems: {verification.problems}")
    return 1 if verification.problems else 0


class _Verification:
    """Verifies images, and counts the problems that it prints.

    :ivar images: how many images were looked at.
    """

    def __init__(self, backends: Backends, *, finds_unsafe: bool) -> None:
        """Verify nothing yet.

        :param finds_unsafe: whether data that refers to other files is a problem.
        """
        self._backends = backends
        self._finds_unsafe = finds_unsafe
        self._began = time.time()
        self._used: list[Location] = []
        self._unreadable = 0
        self.images = 0
        self.problems = 0

    def verify(self, image_id: str, *, may_be_gone: bool) -> None:
        """Verify the record of an image, and all its data.

        :param may_be_gone: whether it is no problem if there is no record: it was removed
            since the records were listed.
        """
        self.images += 1
        try:
            image = self._image(image_id)
        except BackendError as error:
            if isinstance(error, ImageNotFound) and may_be_gone:
                self.images -= 1
                return
            self._unreadable += 1
            self._report(f"image {image_id}: {self._backends.registry}: {error}", error)
            return
        errors = self._errors_of(image)
        # Another command may have replaced or removed the image while it was read.
        if errors and self._has_changed(image):
            self.images -= 1
            self.verify(image_id, may_be_gone=True)
            return
        # These are no problems: a key may be a comment of the record's author.
        for note in notes_of(image):
            tell(f"image {image.id}: {note}")
        for location, problem in errors:
            url = f", {location.recorded.redacted()}" if location.recorded else ""
            self._report(f"image {image.id}: {location}{url}: {problem}", problem)

    def _image(self, image_id: str) -> Image:
        registry = self._backends.registry
        with only_backend_errors(registry):
            return registry.backend.get_newest(image_id, OPERATOR)

    def _has_changed(self, image: Image) -> bool:
        try:
            return self._image(image.id) != image
        except BackendError as error:
            return isinstance(error, ImageNotFound)

    def _errors_of(self, image: Image) -> Sequence[tuple[_AnyLocation, BackendError]]:
        errors: list[tuple[_AnyLocation, BackendError]] = []
        for location in data_locations_of(image, self._backends.stores):
            if location.recorded is not None:
                self._used.append(location.recorded)
            if image.status not in _WITH_DATA or image.deleted:
                continue
            try:
                if isinstance(location, UnusableLocation):
                    raise location.error(location.reason)
                _compare(image, location)
                if self._finds_unsafe and image.size != 0:
                    _examine(image, location)
            except BackendError as error:
                errors.append((location, error))
        return errors

    def find_orphans(self, *, remove: bool) -> None:
        """Print what is in the registry and the stores without being used.

        Call this after every image was verified.

        :param remove: whether to remove it, if it is old enough.
        """
        if self._unreadable:
            tell("data without a record is not looked for, because some records cannot be read")
            return
        registry = self._backends.registry
        writer = registry.backend.writer()
        if writer is not None and writer.needs_locations:
            # Another service may be writing data that its record does not name yet.
            tell(f"data without a record is not looked for, because others use {registry} too")
            return
        if known_ids(registry) is None:
            # A malformed record is not in a list, and its data would look unused.
            tell(f"data without a record is not looked for, because {registry} lists no ids")
            return
        try:
            for orphan in self._orphans():
                self._judge(orphan, remove=remove)
        except BackendError as error:
            self._report(f"data without a record cannot be looked for: {error}", error)

    def _judge(self, orphan: Leftover, *, remove: bool) -> None:
        if self._is_used(orphan):
            return
        # A record that was added since this verification began is not known to it.
        if orphan.seconds - (time.time() - self._began) < _OLD_SECONDS:
            tell(
                f"kept: no record uses {orphan.name}, but it was written or changed less than a"
                " day ago"
            )
            return
        if not remove:
            self._report(f"no record uses {orphan.name}")
            return
        try:
            orphan.remove()
        except ImageAPIError as error:
            self._report(f"no record uses {orphan.name}, but it cannot be removed: {error}")
        else:
            tell(f"removed: {orphan.name}")

    def _is_used(self, orphan: Leftover) -> bool:
        """Whether the record of the image uses it now; a listing can be old."""
        if orphan.image_id is None or orphan.location is None:
            return False
        try:
            image = self._image(orphan.image_id)
        except BackendError as error:
            return not isinstance(error, ImageNotFound)
        found = data_locations_of(image, self._backends.stores)
        return orphan.location.url in [one.recorded.url for one in found if one.recorded]

    def _orphans(self) -> Iterator[Leftover]:
        records = self._backends.registry.backend.writer()
        if records is not None:
            yield from records.temporary()
        for store in self._backends.stores:
            data = store.backend.writer()
            if data is None:
                tell(f"{store}: cannot list its data, so data without a record is not found")
            else:
                yield from data.leftovers(self._used)

    def _report(self, text: str, error: BackendError | None = None) -> None:
        self.problems += 1
        if error is not None:
            log_bug(error)
        tell(text)


def _compare(image: Image, location: DataLocation) -> None:
    """Read all data at a location, and compare its size and hash with the record.

    :raises BackendError: the data cannot be read, or is not the image's.
    """
    checksum = checksum_of(image)
    hasher = checksum.hasher() if checksum is not None else None
    if image.size == 0:
        Opener("always", 0).verify_empty(image)
        return  # no request opens any data
    size = 0
    blob = location.open(0, None, None, OPERATOR)
    with (
        contextlib.closing(blob),
        progress_bar(image.id, image.size) as bar,
        only_backend_errors(location),
    ):
        for chunk in blob:
            size += len(chunk)
            if hasher is not None:
                hasher.update(chunk)
            bar.update(len(chunk))
    if image.size not in (None, size):
        raise BackendError(f"the data is {size} bytes, not {image.size} as its record says")
    if hasher is not None and checksum is not None and hasher.hexdigest() != checksum.digest:
        raise WrongHash(
            f"the data's {checksum.algorithm} is {hasher.hexdigest()},"
            f" not {checksum.digest} as its record says"
        )


def _examine(image: Image, location: DataLocation) -> None:
    """Find out whether the data at a location refers to other files.

    :raises BackendError: it does, or it cannot be read.
    """
    blob = location.open(0, None, None, OPERATOR)
    size, version = blob.total_size, blob.version
    close_blob(blob, image.id, location)
    size = image.size if size is None else size
    data = DataParts(location, image, version=version, size=size, caller=OPERATOR)
    if danger := danger_in(data):
        raise UnsafeImage(f"the data is {danger}")
