# SPDX-License-Identifier: Apache-2.0
"""The command ``show``."""

import argparse
import json
import sys

from imageapi.authorization import PolicyUnavailable
from imageapi.caller import Caller
from imageapi.commands import arguments, made_up_caller
from imageapi.commands.configured import OPERATOR, open_backends
from imageapi.commands.details import described
from imageapi.commands.terminal import log_bug, tell
from imageapi.document.unknown_keys import notes_of
from imageapi.download.store_choice import DataLocation, UnusableLocation, data_locations_of
from imageapi.errors import BackendError, ImageAPIError, LocationRefused, only_backend_errors
from imageapi.image import Image
from imageapi.protocol.image_headers import meta_headers


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.add_argument("id", metavar="ID", type=arguments.image_id)
    parser.add_argument(
        "--json", action="store_true", help="print the record as a JSON document, and no locations"
    )
    made_up_caller.add_arguments(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    with open_backends(options) as backends:
        caller = made_up_caller.caller_of(options, backends.admin_roles)
        answers = None
        try:
            if caller is None:
                with only_backend_errors(backends.registry):
                    image = backends.registry.backend.get_newest(options.id, OPERATOR)
            else:
                answers = made_up_caller.Trial(backends, caller).ask(options.id)
                image = answers.visible_image()
        except PolicyUnavailable as error:
            raise ImageAPIError(f"image {options.id}: {error}") from None
        except BackendError as error:
            log_bug(error)
            raise ImageAPIError(f"image {options.id}: {backends.registry}: {error}") from None
        if options.json:
            print(json.dumps(described(image), indent=2))
            return 0
        _show_record(image)
        if answers is not None:
            tell(f"Policy: {answers}")
            if not answers.may_have_data():
                return 0
        # In a list, so that each location is shown.
        locations = data_locations_of(image, backends.stores)
        fits = [_show_location(one, image, caller or OPERATOR) for one in locations]
    return 0 if any(fits) else 1


def _show_record(image: Image) -> None:
    for name, value in meta_headers(image, sys.maxsize).lines:
        tell(f"{name.removeprefix('X-Image-Meta-')}: {value.encode('latin-1').decode()}")
    if image.members:
        tell(f"Members: {', '.join(sorted(image.members))}")
    for note in notes_of(image):
        tell(f"Note: {note}")


def _show_location(location: DataLocation | UnusableLocation, image: Image, caller: Caller) -> bool:
    """Print a location; return whether its data exists and has the right size."""
    url = location.recorded.redacted() if location.recorded else image.id
    where = f"Data: {location}, {url}"
    try:
        if isinstance(location, UnusableLocation):
            raise LocationRefused(location.reason)
        blob = location.open(0, None, None, caller)
        size = blob.total_size
        blob.close()
    except BackendError as error:
        log_bug(error)
        tell(f"{where}: {error}")
        return False
    fits = size is None or image.size is None or size == image.size
    message = "of unknown size" if size is None else f"{size} bytes"
    tell(f"{where}: {message}{'' if fits else f', but the record says {image.size} bytes'}")
    return fits
