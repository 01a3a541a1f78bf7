# SPDX-License-Identifier: Apache-2.0
"""The command ``import``: copies images from elsewhere.

The source is the backends of another configuration, such as those of a Glance
(examples/glance-v2.conf), folders or Swift; or a folder that ``export`` wrote.
"""

import argparse
import contextlib
import io
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from imageapi.backends.base import StoreBackend
from imageapi.backends.writing import Digests, WriteError
from imageapi.caller import Caller
from imageapi.commands import arguments, changes, exported, filters
from imageapi.commands.configured import (
    OPERATOR,
    backends_of,
    open_backends,
    operator_with_token,
)
from imageapi.commands.exported import Source
from imageapi.commands.listed import Unreadable, ids_of, images_of
from imageapi.commands.sources import ChunkFile, interruptible, located, with_progress
from imageapi.commands.terminal import complain, log_bug, tell
from imageapi.config.plugins import Backends, Loaded
from imageapi.download.checksum import checksum_of
from imageapi.download.opener import Opener
from imageapi.download.requested_data import DownloadRequest
from imageapi.download.store_choice import data_locations_of
from imageapi.download.verified_stream import Body
from imageapi.errors import BackendError, ImageAPIError, ImageNotFound, only_backend_errors
from imageapi.image import Image, Location

# How often the data of an image is requested again, from the byte that was reached.
_RESUME_ATTEMPTS = 20

_CHUNK_SIZE = 1024 * 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.usage = (
        "%(prog)s (ID... | --all [FILTER]...) --from F [--store NAME]\n"
        "       %(prog)s DIRECTORY [--store NAME]"
    )
    parser.description = (
        "Images that exist already with the same data are skipped. So an interrupted"
        " import can be repeated. The token in OS_TOKEN is sent to the source if its"
        " configuration has auth = caller."
    )
    parser.add_argument(
        "words",
        metavar="ID or DIRECTORY",
        nargs="*",
        help="images of --from; or without --from, a folder that 'imageapi export' wrote, whose"
        " images are all copied",
    )
    parser.add_argument(
        "--from",
        dest="source",
        metavar="F",
        help="a configuration file of imageapi that names the backends to read, or a folder that"
        " 'imageapi export' or 'glance-replicator dump' wrote",
    )
    parser.add_argument("--all", action="store_true", help="every image that the source can list")
    parser.add_argument("--store", metavar="NAME", help="the store of the data; default: the first")
    filters.add_filters(parser, "For --all. They are those of the API's lists. All must hold.")
    parser.set_defaults(run=lambda options: _run(options, parser))


def _run(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    choice = filters.choice_of(options, parser)
    path, ids = _source_and_ids(options, parser)
    if choice.given and ids is not None:
        parser.error(f"{', '.join(choice.given)}: filters need --all")
    unreadable = Unreadable()
    with open_backends(options) as target, _opened_source(path) as source:
        writers = changes.writers_of(target, options.store)
        filters.refuse_choice(source.registry, choice.given)
        wanted: Iterable[str] = ids or ()
        if ids is None:
            wanted = _chosen(source, choice, unreadable)
        copying = _Copying(source, target, writers, is_named=ids is not None)
        status = for_each(wanted, copying.copy)
    return status or unreadable.status


def _source_and_ids(
    options: argparse.Namespace, parser: argparse.ArgumentParser
) -> tuple[str, list[str] | None]:
    """Return the path of the source, and the ids; None instead of them for all images."""
    words: list[str] = options.words
    if options.source is None:
        if len(words) == 1 and os.path.isdir(words[0]):
            return words[0], None
        wrong = f"{words[0]!r} is not a folder: " if len(words) == 1 else ""
        parser.error(
            f"{wrong}name the source with --from, or one folder that 'imageapi export' wrote"
        )
    if bool(words) == options.all:
        parser.error("name images, or give --all")
    try:
        ids = [arguments.image_id(word) for word in words]
    except argparse.ArgumentTypeError as error:
        parser.error(f"argument ID: {error}")
    return options.source, None if options.all else ids


@contextlib.contextmanager
def _opened_source(path: str) -> Iterator[Source]:
    if os.path.isdir(path):
        yield exported.source_of(path)
        return
    with backends_of([path]) as backends:
        yield Source(backends.registry, backends.stores)


def _chosen(source: Source, choice: filters.Choice, unreadable: Unreadable) -> Iterator[str]:
    """Yield the ids of the images that the filters choose."""
    registry, caller = source.registry, operator_with_token()
    if not choice.given:
        yield from ids_of(registry, caller)
        return
    # Images that are added meanwhile come at the end.  Deleted ones have no data.
    query = replace(choice.query, descending=False, shows_deleted=False)
    found = images_of(registry, query, caller, unreadable, is_whole=True)
    with contextlib.closing(found):
        for image in found:
            yield image.id


def for_each(ids: Iterable[str], copy: Callable[[str], str]) -> int:
    """Copy images one after the other; if one fails, print why, and continue.

    :param copy: copies an image, and returns what to print.
    :returns: the exit status.
    """
    status = 0
    for image_id in ids:
        try:
            with interruptible():
                tell(f"{image_id}: {copy(image_id)}")
        except ImageAPIError as error:
            if isinstance(error, BackendError):
                log_bug(error)
            complain(f"image {image_id}: {error}")
            status = 1
    return status


class _Copying:
    """Copies images from a source into the backends of the configuration."""

    def __init__(
        self, source: Source, target: Backends, writers: changes.Writers, *, is_named: bool
    ) -> None:
        self._source = source
        self._target = target
        self._writers = writers
        self._is_named = is_named
        self._caller = operator_with_token()

    def copy(self, image_id: str) -> str:
        """Copy an image unless it is here already; return what to print.

        :raises ImageAPIError: it cannot be copied.
        """
        registry = self._source.registry
        with only_backend_errors(registry):
            image = registry.backend.get_newest(image_id, self._caller)
        existing = _existing(self._target, image_id)
        if existing is not None:
            return _same(image, existing)
        if not image.is_active:
            return skipped(image, is_named=self._is_named)
        # Only now, because the locations are those of the source.
        new = replace(image, locations=())
        left = self._writers.data.left_behind(image_id)
        if left is None:
            self._add(image, new, beside=False)
            return "copied"
        digests = self._digests_at(left, image)
        if digests is not None:
            changes.take(self._writers, new, digests)
            return "copied: its data was here already"
        self._add(image, new, beside=True)
        return f"copied: other data stays at {left.redacted()}, which no record uses"

    def _add(self, image: Image, new: Image, *, beside: bool) -> None:
        with contextlib.ExitStack() as stack:
            body = opened_data(image, self._source.stores, self._caller)
            if isinstance(body, Body):
                stack.callback(body.close)
            reader = stack.enter_context(io.BufferedReader(ChunkFile(body)))
            data = stack.enter_context(with_progress(reader, image.size))
            changes.add(self._writers, new, data, checksum=None, beside=beside)

    def _digests_at(self, location: Location, image: Image) -> Digests | None:
        """Read the data at a location of the target.

        :returns: None if it is certainly or possibly other data than that of the image.
        """
        checksum = checksum_of(image)
        if checksum is None:
            return None
        hasher = checksum.hasher()
        place = replace(location, store=self._writers.store.name)
        with located(place, image, self._target) as file, with_progress(file) as data:
            while chunk := data.read(_CHUNK_SIZE):
                hasher.update(chunk)
        digests = data.digests()
        is_same = hasher.hexdigest() == checksum.digest and image.size in (None, digests.size)
        return digests if is_same else None


def skipped(image: Image, *, is_named: bool) -> str:
    """Say why an image that is not active is not copied.

    :param is_named: whether the operator named the image.
    :raises WriteError: the operator did.
    """
    if is_named:
        raise WriteError(f"its status is {image.status}: only active images are copied")
    return f"skipped: its status is {image.status}"


def _existing(target: Backends, image_id: str) -> Image | None:
    try:
        with only_backend_errors(target.registry):
            return target.registry.backend.get_newest(image_id, OPERATOR)
    except ImageNotFound:
        return None


def _same(image: Image, existing: Image) -> str:
    """Compare the records of an image.

    :raises WriteError: they are of different data.
    """
    if image.size not in (None, existing.size) or image.checksum not in (None, existing.checksum):
        raise WriteError("it exists already, with other data")
    return "skipped: it exists already"


def opened_data(
    image: Image, stores: tuple[Loaded[StoreBackend], ...], caller: Caller
) -> Iterator[bytes]:
    """Open the data of an image; each of its bytes is verified before the last one is read.

    :param stores: those that open its locations.
    """
    opener = Opener("always", _RESUME_ATTEMPTS)
    if image.size == 0:
        opener.verify_empty(image)
        return iter(())
    request = DownloadRequest(image, None, may_continue=False, caller=caller)
    steps = opener.open(request, data_locations_of(image, stores))
    while True:
        try:
            next(steps)
        except StopIteration as end:
            body: Body = end.value.body
            return body
