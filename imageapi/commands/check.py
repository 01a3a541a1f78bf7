# SPDX-License-Identifier: Apache-2.0
"""The command ``check``."""

import argparse
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from imageapi.backends.base import RegistryBackend
from imageapi.cache.settings import CacheSettings
from imageapi.commands import arguments
from imageapi.commands.configured import OPERATOR, backends_for_serving
from imageapi.commands.metrics_folder import makes_folder
from imageapi.commands.terminal import log_bug, tell
from imageapi.config.plugins import Loaded
from imageapi.document.unknown_keys import notes_of
from imageapi.errors import BackendError, ImageNotFound, only_backend_errors

# More of them would take minutes in Swift.
_MOST_RECORDS = 1000


def add_parser(commands: arguments.Commands) -> None:
    check = commands.add_parser(
        "check", help="check that every configured backend and the cache work"
    )
    check.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    status = 0
    with backends_for_serving(options) as (backends, settings):
        for loaded in backends:
            about = f"{loaded} (driver {loaded.driver!r} of {loaded.distribution})"
            try:
                text = _text_of_check(loaded)
                if loaded.driver == "prometheus" and makes_folder(settings):
                    text = "serve adds up the counts of all its processes"
            except BackendError as error:
                log_bug(error)
                tell(f"{about}: {error}")
                status = 1
            else:
                tell(f"{about}: ok{text and f', {text}'}")
        sections = backends.protections.sections
        if sections is not None:
            tell(f"property protections: ok, {len(sections)} sections")
        if backends.cache is not None and not _is_usable(backends.cache):
            status = 1
        if status == 0:
            _check_records(backends.registry)
    return status


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
