# SPDX-License-Identifier: Apache-2.0
"""The command ``add``."""

import argparse
import sys
import uuid

from imageapi.commands import arguments, changes, details
from imageapi.commands.configured import naming, open_backends
from imageapi.commands.sources import interruptible, located, opened, with_progress
from imageapi.commands.terminal import complain
from imageapi.config.plugins import Backends
from imageapi.image import Image, Location
from imageapi.protocol.image_headers import meta_headers


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "file", metavar="FILE", nargs="?", help="the image data; - for standard input"
    )
    source.add_argument(
        "--location",
        metavar="URL",
        type=arguments.utf8,
        help="register data that a store has already: it is read and hashed, not copied",
    )
    parser.add_argument("--id", type=arguments.image_id, help="the image's id; default: a new UUID")
    parser.add_argument("--store", metavar="NAME", help="the store of the data; default: the first")
    parser.add_argument(
        "--checksum",
        metavar="HEX",
        type=arguments.checksum,
        help="the MD5 or SHA-512 that the data must have",
    )
    details.add_arguments(parser, visibility_is_required=True)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    image = Image(
        id=options.id or str(uuid.uuid4()),
        status="queued",
        properties=dict(options.property),
        members=frozenset(options.member),
        **details.fields_of(options),
    )
    for note in meta_headers(image, sys.maxsize).notes:
        complain(f"warning: {note}")
    details.warn_of_hidden(image)
    with open_backends(options) as backends, interruptible():
        if options.location is None:
            _add(backends, image, options)
        else:
            _register(backends, image, options)
    print(image.id)
    return 0


def _add(backends: Backends, image: Image, options: argparse.Namespace) -> None:
    writers = changes.writers_of(backends, options.store)
    with opened(options.file) as source, with_progress(source) as data, naming(image.id):
        changes.add(writers, image, data, options.checksum)


def _register(backends: Backends, image: Image, options: argparse.Namespace) -> None:
    records = changes.record_writer(backends)
    location = Location(options.location, options.store)
    with naming(image.id):
        changes.refuse_existing(records, image.id)
        with located(location, image, backends) as source, with_progress(source) as data:
            while data.read(1024 * 1024):
                pass
        changes.register(records, image, location, data.digests(), options.checksum)
