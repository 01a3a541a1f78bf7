# SPDX-License-Identifier: Apache-2.0
"""The command ``export``: writes images into a folder, from which ``import`` reads them.

The layout is that of ``glance-replicator dump``, with one more file for each image.
"""

import argparse
import contextlib
import io
import os

from imageapi.backends.file.new_file import NewFile
from imageapi.backends.writing import WriteError
from imageapi.commands import arguments, exported
from imageapi.commands.configured import OPERATOR, open_backends
from imageapi.commands.import_images import for_each, opened_data, skipped
from imageapi.commands.listed import ids_of
from imageapi.commands.sources import ChunkFile, with_progress
from imageapi.config.plugins import Backends
from imageapi.download.verified_stream import Body
from imageapi.errors import only_backend_errors
from imageapi.image import Image

_CHUNK_SIZE = 1024 * 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.add_argument("ids", metavar="ID", nargs="*", type=arguments.image_id)
    parser.add_argument("--to", dest="folder", metavar="DIR", required=True)
    parser.add_argument("--all", action="store_true", help="every image")
    parser.set_defaults(run=lambda options: _run(options, parser))


def _run(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    if bool(options.ids) == options.all:
        parser.error("name images, or give --all")
    _check_folder(options.folder)
    with open_backends(options) as backends:
        return for_each(
            ids_of(backends.registry) if options.all else options.ids,
            lambda image_id: _export(image_id, backends, options),
        )


def _check_folder(folder: str) -> None:
    """Refuse a folder that is absent.

    :raises WriteError: it is not there, or not a folder.
    """
    try:
        # With the slash at the end, a file that is not a folder is an error.
        os.stat(os.path.join(folder, ""))
    except OSError as error:
        raise WriteError(
            f"{folder}: {error.strerror}; create this folder, or name another with --to"
        ) from None


def _export(image_id: str, backends: Backends, options: argparse.Namespace) -> str:
    with only_backend_errors(backends.registry):
        image = backends.registry.backend.get_newest(image_id, OPERATOR)
    if not image.is_active:
        return skipped(image, is_named=not options.all)
    path = exported.write(options.folder, image, lambda file: _write_data(image, backends, file))
    return f"written to {path}"


def _write_data(image: Image, backends: Backends, file: NewFile) -> None:
    with contextlib.ExitStack() as stack:
        body = opened_data(image, backends.stores, OPERATOR)
        if isinstance(body, Body):
            stack.callback(body.close)
        reader = stack.enter_context(io.BufferedReader(ChunkFile(body)))
        data = stack.enter_context(with_progress(reader, image.size))
        while chunk := data.read(_CHUNK_SIZE):
            file.write(chunk)
