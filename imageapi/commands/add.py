# SPDX-License-Identifier: Apache-2.0
"""The command ``add``."""

import argparse
import contextlib
import os
import signal
import sys
import uuid
from collections.abc import Iterator
from typing import Any, BinaryIO

from tqdm import tqdm

from imageapi.backends.upload import Adder, HashingReader, UploadError
from imageapi.commands.arguments import Commands, count, image_id, key_and_value, utf8
from imageapi.commands.configured import open_backends
from imageapi.commands.terminal import complain
from imageapi.config.plugins import Backends
from imageapi.errors import ConfigurationError, only_backend_errors
from imageapi.image import Image
from imageapi.protocol.image_headers import meta_headers


def add_parser(commands: Commands) -> None:
    add = commands.add_parser("add", help="add an image to folders, or to Swift")
    add.add_argument("file", metavar="FILE", help="the image data; - for standard input")
    add.add_argument("--id", type=image_id, help="the image's id; default: a new UUID")
    add.add_argument("--name", type=utf8)
    add.add_argument("--disk-format", metavar="F", type=utf8, help="such as raw or qcow2")
    add.add_argument("--container-format", metavar="F", type=utf8, help="such as bare or ovf")
    add.add_argument("--min-disk", metavar="G", type=count, default=0, help="minimum disk, in GiB")
    add.add_argument("--min-ram", metavar="M", type=count, default=0, help="minimum RAM, in MiB")
    about = "make the image private; only owner and group can read its files"
    add.add_argument("--private", action="store_true", help=about)
    add.add_argument("--owner", metavar="P", type=utf8, help="the owning project's id")
    add.add_argument("--property", metavar="K=V", type=key_and_value, action="append", default=[])
    add.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    with open_backends(options) as backends:
        add = _adder(backends)
        image = Image(
            id=options.id or str(uuid.uuid4()),
            status="queued",
            name=options.name,
            disk_format=options.disk_format,
            container_format=options.container_format,
            min_disk=options.min_disk,
            min_ram=options.min_ram,
            is_public=not options.private,
            owner=options.owner,
            properties=dict(options.property),
        )
        for note in meta_headers(image, sys.maxsize).notes:
            complain(f"warning: {note}")
        with (
            _terminated_like_interrupted(),
            _source(options.file) as source,
            _progress_bar(source) as bar,
        ):
            add(image, HashingReader(source, bar.update))
    print(image.id)
    return 0


def _adder(backends: Backends) -> Adder:
    """Return the function that adds images to the registry and the first store."""
    store = backends.stores[0]
    with only_backend_errors(store):
        adder = store.backend.adder(backends.registry.backend)
    if adder is None:
        about = f"add cannot write to {backends.registry} and {store}"
        raise ConfigurationError([f"{about}: configure both as file, or both as swift"])
    return adder


def _source(path: str) -> contextlib.AbstractContextManager[BinaryIO]:
    if path == "-":
        return contextlib.nullcontext(sys.stdin.buffer)
    try:
        return open(path, "rb")
    except OSError as error:
        raise UploadError(f"{path}: {error.strerror}") from None


def _progress_bar(source: BinaryIO) -> Any:
    """Return a progress bar, which is shown only on a terminal."""
    total = None
    with contextlib.suppress(OSError):
        total = os.fstat(source.fileno()).st_size or None
    return tqdm(total=total, unit="B", unit_scale=True, disable=None, file=sys.stderr)


@contextlib.contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Clean up at SIGTERM and SIGHUP too, unless the signal is ignored, as by nohup."""
    before = [
        (number, signal.signal(number, signal.default_int_handler))
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN
    ]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
