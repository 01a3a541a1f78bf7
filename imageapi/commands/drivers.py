# SPDX-License-Identifier: Apache-2.0
"""The command ``drivers``: what is installed, and the options of each driver."""

import argparse

from oslo_config import cfg

from imageapi.commands.terminal import tell
from imageapi.config import plugins
from imageapi.errors import ImageAPIError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.add_argument("name", metavar="NAME", nargs="?", help="only drivers of this name")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    status = 0
    found = [one for one in plugins.installed() if options.name in (None, one.name)]
    if not found:
        raise ImageAPIError(f"no driver is named {options.name!r}; imageapi drivers lists all")
    for driver in found:
        tell(f"{driver.kind} {driver.name!r} of {driver.distribution}")
        if driver.problem:
            status = 1
            tell(f"    cannot be used: {driver.problem}")
        for option in driver.options:
            tell(f"    {option.dest} ({_kind_of(option)}): {option.help or ''}")
    return status


def _kind_of(option: cfg.Opt) -> str:
    """Return an option's type, and whether it is required, secret, or has a default."""
    # Other libraries' options have a function, such as int, as their type.
    words = [getattr(option.type, "__name__", type(option.type).__name__).lower()]
    words += [word for word in ("required", "secret") if getattr(option, word)]
    if option.default is not None and not option.secret:
        words.append(f"default: {'empty' if option.default in ('', []) else option.default}")
    return ", ".join(words)
