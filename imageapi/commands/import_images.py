# SPDX-License-Identifier: Apache-2.0
"""The command ``import``: copies images from the backends of another configuration.

Such a configuration can name a Glance (examples/glance-v2.conf), folders, or Swift.
"""

import argparse
import contextlib
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from imageapi.backends.writing import WriteError
from imageapi.caller import Caller
from imageapi.commands import arguments, changes
from imageapi.commands.configured import (
    OPERATOR,
    backends_of,
    open_backends,
    operator_with_token,
)
from imageapi.commands.listed import ids_of
from imageapi.commands.sources import ChunkFile, interruptible, with_progress
from imageapi.commands.terminal import complain, log_bug, tell
from imageapi.config.plugins import Backends
from imageapi.download.opener import DownloadRequest, Opener
from imageapi.download.store_choice import data_locations_of
from imageapi.download.verified_stream import Body
from imageapi.errors import BackendError, ImageAPIError, ImageNotFound, only_backend_errors
from imageapi.image import Image

# How often the data of an image is requested again, from the byte that was reached.
_RESUME_ATTEMPTS = 20


def add_parser(commands: arguments.Commands) -> None:
    """Add the command and its arguments to the command line."""
    parser = commands.add_parser(
        "import",
        help="copy images from another configuration, such as that of a Glance",
        description="Images that exist already with the same data are skipped. So an interrupted"
        " import can be repeated. The token in OS_TOKEN is sent to the source if its"
        " configuration has auth = caller.",
    )
    parser.add_argument("ids", metavar="ID", nargs="*", type=arguments.image_id)
    parser.add_argument(
        "--from",
        dest="source",
        metavar="F",
        required=True,
        help="a configuration file of imageapi that names the backends to read",
    )
    parser.add_argument("--all", action="store_true", help="every image that the source can list")
    parser.add_argument("--store", metavar="NAME", help="the store of the data; default: the first")
    parser.set_defaults(run=lambda options: _run(options, parser))


def _run(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    if bool(options.ids) == options.all:
        parser.error("name images, or give --all")
    with open_backends(options) as target, backends_of([options.source]) as source:
        writers = changes.writers_of(target, options.store)
        return for_each(
            ids_of(source.registry, operator_with_token()) if options.all else options.ids,
            lambda image_id: _copy(image_id, source, target, writers, options),
        )


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


def _copy(
    image_id: str,
    source: Backends,
    target: Backends,
    writers: changes.Writers,
    options: argparse.Namespace,
) -> str:
    caller = operator_with_token()
    with only_backend_errors(source.registry):
        image = source.registry.backend.get(image_id, caller)
    existing = _existing(target, image_id)
    if existing is not None:
        return _same(image, existing)
    if not image.is_active:
        return skipped(image, is_named=not options.all)
    with contextlib.ExitStack() as stack:
        body = opened_data(image, source, caller)
        if isinstance(body, Body):
            stack.callback(body.close)
        reader = stack.enter_context(io.BufferedReader(ChunkFile(body)))
        data = stack.enter_context(with_progress(reader, image.size))
        changes.add(writers, replace(image, locations=()), data, checksum=None)
    return "copied"


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
            return target.registry.backend.get(image_id, OPERATOR)
    except ImageNotFound:
        return None


def _same(image: Image, existing: Image) -> str:
    """Compare the records of an image.

    :raises WriteError: they are of different data.
    """
    if image.size not in (None, existing.size) or image.checksum not in (None, existing.checksum):
        raise WriteError("it exists already, with other data")
    return "skipped: it exists already"


def opened_data(image: Image, source: Backends, caller: Caller) -> Iterator[bytes]:
    """Open the data of an image; each of its bytes is verified before the last one is read."""
    opener = Opener("always", _RESUME_ATTEMPTS)
    if image.size == 0:
        opener.verify_empty(image)
        return iter(())
    request = DownloadRequest(image, None, may_continue=False, caller=caller)
    steps = opener.open(request, data_locations_of(image, source.stores))
    while True:
        try:
            next(steps)
        except StopIteration as end:
            body: Body = end.value.body
            return body
