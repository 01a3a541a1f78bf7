# SPDX-License-Identifier: Apache-2.0
"""The command ``check``."""

import argparse
from typing import Any

from imageapi.commands import arguments
from imageapi.commands.configured import open_backends
from imageapi.commands.terminal import log_bug, tell
from imageapi.config.plugins import Loaded
from imageapi.errors import BackendError, only_backend_errors


def add_parser(commands: arguments.Commands) -> None:
    check = commands.add_parser("check", help="check that every configured backend works")
    check.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    status = 0
    with open_backends(options) as backends:
        for loaded in backends:
            about = f"{loaded} (driver {loaded.driver!r} of {loaded.distribution})"
            try:
                said = _said_by(loaded)
            except BackendError as error:
                log_bug(error)
                tell(f"{about}: {error}")
                status = 1
            else:
                tell(f"{about}: ok{said and f', {said}'}")
    return status


def _said_by(loaded: Loaded[Any]) -> str:
    """Return the text of a backend's check()."""
    with only_backend_errors(loaded):
        said: object = loaded.backend.check()
    if isinstance(said, str):
        return said
    raise BackendError(f"check() must return a str, not {type(said).__name__}")
