# SPDX-License-Identifier: Apache-2.0
"""The command ``imageapi``: a module here for each of its commands."""

import argparse
import contextlib
import logging
import os
import sys
from collections.abc import Sequence

import imageapi
from imageapi.commands import (
    activate,
    add,
    cache,
    check,
    demo,
    drivers,
    export_images,
    import_images,
    new_plugin,
    remove,
    replace,
    serve,
    show,
    verify,
)
from imageapi.commands import list as list_
from imageapi.commands import set as set_
from imageapi.commands.arguments import add_config_file
from imageapi.commands.terminal import complain, log_to_stderr
from imageapi.config.files import ENVIRONMENT_VARIABLE
from imageapi.errors import ConfigurationError, ImageAPIError

LOG = logging.getLogger(__name__)

_COMMANDS = (
    *(serve, list_, show, add, set_, activate, replace, remove),
    *(verify, import_images, export_images, cache, check, drivers, new_plugin, demo),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    :param arguments: if None, the arguments of the process are used.
    :returns: the exit status: 0 for success, 1 for an error.
    """
    options = _parser().parse_args(arguments)
    options.config_file = [*options.config_file, *options.later_config_files]
    log_to_stderr(debug=options.debug)
    try:
        status = int(options.run(options))
        # An error of the output must show here, and not when Python exits.
        sys.stdout.flush()
        return status
    except ConfigurationError as error:
        for problem in error.problems:
            complain(problem)
    except ImageAPIError as error:
        complain(str(error))
    except KeyboardInterrupt:
        complain("interrupted")
    except BrokenPipeError:
        # The reader of our output has left, such as ``head``.  Python would complain at exit.
        _discard_output()
    except OSError as error:
        LOG.debug("failed", exc_info=error)
        complain(f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror))
        if not error.filename:
            _discard_output()  # it may be the output that cannot be written
    return 1


def _discard_output() -> None:
    with contextlib.suppress(OSError):
        output = sys.stdout.fileno()
        os.dup2(os.open(os.devnull, os.O_WRONLY), output)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="imageapi", description="Serve images over the OpenStack Image API v1."
    )
    parser.add_argument(
        "--config-file",
        metavar="F",
        action="append",
        default=[],
        help=f"a configuration file; may be repeated. Default: {ENVIRONMENT_VARIABLE},"
        " else /etc/imageapi/imageapi.conf and oslo.config's other usual paths",
    )
    parser.add_argument("--debug", action="store_true", help="log imageapi's debug messages too")
    parser.add_argument("--version", action="version", version=f"%(prog)s {imageapi.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add_parser(commands)
    # Not the same destination: the parser of a command would replace the earlier files.
    parser.set_defaults(later_config_files=[])
    for one in commands.choices.values():
        # Otherwise it has sub-commands, which have the argument.
        if one.get_default("run") is not None:
            add_config_file(one)
    return parser
