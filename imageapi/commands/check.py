# SPDX-License-Identifier: Apache-2.0
"""The command ``check``."""

import argparse
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from imageapi.backends.base import RegistryBackend
from imageapi.cache.settings import CacheSettings
from imageapi.commands import arguments, made_up_caller
from imageapi.commands.configured import OPERATOR, backends_for_serving
from imageapi.commands.made_up_caller import Trial
from imageapi.commands.metrics_folder import makes_folder
from imageapi.commands.serve_settings import ServeSettings
from imageapi.commands.terminal import log_bug, tell
from imageapi.config.plugins import Loaded
from imageapi.document.unknown_keys import notes_of
from imageapi.errors import BackendError, ImageAPIError, ImageNotFound, only_backend_errors
from imageapi.policy.base import GET_IMAGES

# More of them would take minutes in Swift.
_MOST_RECORDS = 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.add_argument(
        "ids",
        metavar="ID",
        nargs="*",
        type=arguments.image_id,
        help="with a made-up caller: only ask for these images",
    )
    made_up_caller.add_arguments(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    with backends_for_serving(options) as (backends, settings):
        caller = made_up_caller.caller_of(options, backends.admin_roles)
        if options.ids and caller is None:
            raise ImageAPIError("an ID needs a made-up caller: give --as-role, or --as-anonymous")
        # In a list, so that each backend is checked.
        works = [_works(loaded, settings) for loaded in backends]
        sections = backends.protections.sections
        if sections is not None:
            tell(f"property protections: ok, {len(sections)} sections")
        if backends.cache is not None:
            works.append(_is_usable(backends.cache))
        if not all(works):
            return 1
        _check_records(backends.registry)
        if caller is not None:
            _tell_permissions(Trial(backends, caller), backends.registry, options.ids)
    return 0


def _works(loaded: Loaded[Any], settings: ServeSettings) -> bool:
    """Print what a backend's check() says; return whether it works."""
    about = f"{loaded} (driver {loaded.driver!r} of {loaded.distribution})"
    try:
        text = _text_of_check(loaded)
    except BackendError as error:
        log_bug(error)
        tell(f"{about}: {error}")
        return False
    if loaded.driver == "prometheus" and makes_folder(settings):
        text = "serve adds up the counts of all its processes"
    tell(f"{about}: ok{text and f', {text}'}")
    return True


def _tell_permissions(
    trial: Trial, registry: Loaded[RegistryBackend], named: Sequence[str]
) -> None:
    """Print what a caller may do with the named images, or with the registry's first ones."""
    tell(f"caller: {made_up_caller.text_of(trial.caller)}")
    try:
        lists = f"{GET_IMAGES} {'allowed' if trial.lists() else 'refused'}"
    except BackendError as error:
        lists = str(error)
    tell(f"lists: {lists}")
    try:
        ids = named or _first_ids(registry)
    except BackendError:
        return  # _check_records has printed it.
    if ids is None:
        tell(f"{registry} does not say which images it has: name them, as in check --as-role R ID")
        return
    for image_id in ids if named else ids[:_MOST_RECORDS]:
        try:
            tell(f"image {image_id}: {trial.ask(image_id)}")
        except BackendError as error:
            log_bug(error)
            tell(f"image {image_id}: {error}")


def _is_usable(cache: CacheSettings) -> bool:
    try:
        text = cache.folder.check()
    except BackendError as error:
        tell(f"cache: {error}")
        return False
    tell(f"cache: ok, {text}")
    return True


def _check_records(registry: Loaded[RegistryBackend]) -> None:
    """Print what is wrong with the registry's first records.

    The exit status does not depend on it: one wrong record must not keep a service
    from being started or reloaded.
    """
    try:
        ids = _first_ids(registry)
        if ids is None:
            return
        for image_id in ids[:_MOST_RECORDS]:
            for note in _notes_on(registry, image_id):
                tell(f"image {image_id}: {note}")
    except BackendError as error:
        log_bug(error)
        tell(f"{registry}: its records cannot be listed: {error}")
        return
    if len(ids) > _MOST_RECORDS:
        tell(f"{registry}: only the first {_MOST_RECORDS:,} records were read; verify reads all")


def _first_ids(registry: Loaded[RegistryBackend]) -> Sequence[str] | None:
    """Return some ids, at most one more than are read; None if they cannot be listed."""
    with only_backend_errors(registry):
        ids = registry.backend.image_ids()
        return None if ids is None else list(itertools.islice(ids, _MOST_RECORDS + 1))


def _notes_on(registry: Loaded[RegistryBackend], image_id: str) -> Iterator[str]:
    try:
        with only_backend_errors(registry):
            image = registry.backend.get_newest(image_id, OPERATOR)
    except ImageNotFound:
        return  # removed meanwhile
    except BackendError as error:
        log_bug(error)
        yield str(error)
    else:
        yield from notes_of(image)


def _text_of_check(loaded: Loaded[Any]) -> str:
    """Return the text of a backend's check()."""
    with only_backend_errors(loaded):
        text: object = loaded.backend.check()
    if isinstance(text, str):
        return text
    raise BackendError(f"check() must return a str, not {type(text).__name__}")
