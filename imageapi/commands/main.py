# SPDX-License-Identifier: Apache-2.0
"""The command ``imageapi``: a module here for each of its commands."""

import argparse
import contextlib
import importlib
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

import imageapi
from imageapi.commands.arguments import add_config_file
from imageapi.commands.terminal import complain, log_to_stderr, tell
from imageapi.config import ENVIRONMENT_VARIABLE
from imageapi.errors import ConfigurationError, ImageAPIError

LOG = logging.getLogger(__name__)

#: The commands, in the order of the help, and what they do.
_COMMANDS = {
    "serve": "serve the configured images with gunicorn",
    "list": "list images",
    "show": "show a record and the locations of its data",
    "add": "add an image",
    "set": "change the details of an image",
    "deactivate": "serve an image's details, but not its data",
    "activate": "serve the data of a deactivated image again",
    "replace": "give an image other data",
    "remove": "remove an image and its data",
    "verify": "read data, and compare it with the records",
    "import": "copy images from another configuration, such as that of a Glance, or from a folder",
    "export": "write images into a folder, as 'glance-replicator dump' does",
    "cache": "list, fill or empty the image cache",
    "check": "check that every configured backend and the cache work",
    "drivers": "list the installed drivers and their options",
    "new-plugin": "write a package with backends, to start from",
    "demo": "serve and download a sample image",
}

#: The modules of the commands that do not have the name of their command.
_MODULES = {
    "deactivate": "activate",
    "import": "import_images",
    "export": "export_images",
    "new-plugin": "new_plugin",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    :param arguments: if None, the arguments of the process are used.
    :returns: the exit status: 0 for success, 1 for an error.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser(arguments).parse_args(arguments)
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


class _ShowVersion(argparse.Action):
    """Prints the version, and ends the command."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        # argparse's own action would need the version of every command; finding it takes long.
        tell(f"imageapi {imageapi.__version__}")
        parser.exit()


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """Make the parser; import only the commands that the arguments may name.

    So ``imageapi --help`` does not import what the commands need.
    """
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
    parser.add_argument(
        "--version", action=_ShowVersion, nargs=0, help="show program's version number and exit"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for name, about in _COMMANDS.items():
        command = commands.add_parser(name, help=about)
        if name in arguments:
            _add_arguments(name, command)
    # Not the same destination: the parser of a command would replace the earlier files.
    parser.set_defaults(later_config_files=[])
    return parser


def _add_arguments(name: str, command: argparse.ArgumentParser) -> None:
    module = importlib.import_module(f"imageapi.commands.{_MODULES.get(name, name)}")
    module.add_arguments(command)
    # Otherwise it has sub-commands, which have the argument.
    if command.get_default("run") is not None:
        add_config_file(command)
