# SPDX-License-Identifier: Apache-2.0
"""The types of the command line's arguments.  Each refuses an invalid text."""

import argparse
import difflib
from collections.abc import Sequence
from typing import TypeAlias

from imageapi.image import LONGEST_IMAGE_ID, is_image_id
from imageapi.protocol.value_text import SURROGATE

#: The formats that Glance accepts by default.
DISK_FORMATS = ("aki", "ami", "ari", "iso", "ploop", "qcow2", "raw", "vdi", "vhd", "vhdx", "vmdk")
CONTAINER_FORMATS = ("aki", "ami", "ari", "bare", "compressed", "docker", "ova", "ovf")

#: The object to which each command adds its parser.
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_config_file(parser: argparse.ArgumentParser) -> None:
    """Let a command have ``--config-file`` among its own arguments."""
    parser.add_argument(
        "--config-file",
        metavar="F",
        action="append",
        dest="later_config_files",
        default=argparse.SUPPRESS,
        help="a configuration file, as before the command",
    )


def image_id(text: str) -> str:
    if is_image_id(text):
        return text
    raise argparse.ArgumentTypeError(
        f"{text!r:.100} is not a valid image id: no slash, no control character, not 'detail',"
        f" at most {LONGEST_IMAGE_ID} bytes of UTF-8"
    )


def utf8(text: str) -> str:
    """A text in UTF-8.  No record can hold other bytes; Python reads them as lone surrogates."""
    if SURROGATE.search(text):
        raise argparse.ArgumentTypeError(f"{text!r:.100} is not UTF-8")
    return text


def key_and_value(text: str) -> tuple[str, str]:
    """A property: ``K=V``."""
    key, equals, value = utf8(text).partition("=")
    if key and equals:
        return key, value
    raise argparse.ArgumentTypeError(f"{text!r} is not K=V")


def disk_format(text: str) -> str:
    """A disk format of Glance's list."""
    return _known(text, "disk format", DISK_FORMATS)


def container_format(text: str) -> str:
    """A container format of Glance's list."""
    return _known(text, "container format", CONTAINER_FORMATS)


def _known(text: str, kind: str, names: Sequence[str]) -> str:
    if text in names:
        return text
    near = difflib.get_close_matches(text.lower(), names, n=1)
    advice = f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(names)}"
    raise argparse.ArgumentTypeError(f"{utf8(text)!r:.100} is no {kind}: {advice}")


def count(text: str) -> int:
    """A whole number, 0 included."""
    if text.isascii() and text.isdigit():
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")


def positive(text: str) -> int:
    """A whole number above 0."""
    if count(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")


def port(text: str) -> int:
    if 0 < count(text) < 65536:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a port from 1 to 65535")


def checksum(text: str) -> str:
    """An MD5 or a SHA-512, in hexadecimal digits."""
    if len(text) in (32, 128) and all(digit in "0123456789abcdefABCDEF" for digit in text):
        return text.lower()
    raise argparse.ArgumentTypeError(
        f"{text!r:.140} is neither an MD5 (32 hexadecimal digits) nor a SHA-512 (128)"
    )
