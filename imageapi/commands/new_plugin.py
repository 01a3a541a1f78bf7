# SPDX-License-Identifier: Apache-2.0
"""The command ``new-plugin``: writes a package with backends, to start from."""

import argparse
import re
from collections.abc import Collection, Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from imageapi.commands.terminal import tell
from imageapi.config import entry_points
from imageapi.errors import ImageAPIError

_KINDS = ("store", "registry", "policy")

# The driver's name in the template.  docs/plugins.md shows the template with this name.
_TEMPLATE = "sqlite"
_SUFFIX = ".tmpl"
# The modules of one kind, each with its tests if it has any.
_MODULES = {
    "store": ("store", "data_writer"),
    "registry": ("registry", "record_writer"),
    "policy": ("policy",),
}
# A part of a template that is for one kind only.
_PART = re.compile(r"^#\[([a-z ]+)\]\n(.*?)^#\[end\]\n", re.MULTILINE | re.DOTALL)

# It is the scheme of the store's URLs too, so it has no hyphen and no underscore.
_NAME = re.compile(r"(?:imageapi[-_])?([a-z][a-z0-9]*)")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.description = (
        "Write a package that keeps images in an SQLite file and passes the public"
        " test suites.  Replace its code with your own."
    )
    parser.add_argument(
        "directory",
        metavar="DIRECTORY",
        type=Path,
        help="the folder to write; its name is that of the driver, or imageapi- and the driver's",
    )
    parser.add_argument(
        "--kind",
        choices=_KINDS,
        action="append",
        help="a kind of backend to write; may be repeated. Default: all of them",
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    folder: Path = options.directory
    name = _name_of(folder)
    kinds = [kind for kind in _KINDS if kind in (options.kind or _KINDS)]
    files = _files(name, kinds)
    for path in files:
        if (folder / path).exists() or (folder / path).is_symlink():
            raise ImageAPIError(f"{folder / path} exists already: name another DIRECTORY")
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        with (folder / path).open("x", encoding="utf-8") as file:
            file.write(text)
        tell(f"wrote {folder / path}")
    tell(f"driver {name!r}: {', '.join(kinds)}")
    tell(f"next: pip install --editable '{folder}[test]', then run pytest in {folder}")
    return 0


def _name_of(folder: Path) -> str:
    """Return the driver's name.

    :raises ImageAPIError: the folder's name contains none, or it is one of imageapi's own drivers.
    """
    last = folder.resolve().name
    match = _NAME.fullmatch(last)
    if match is None:
        raise ImageAPIError(
            f"{last!r} names no driver: call the DIRECTORY imageapi-NAME, with only lower-case"
            " letters and digits in NAME, and a letter first"
        )
    name = match[1]
    for kind in _KINDS:
        for found in entry_points.of_kind(kind):
            distribution = entry_points.distribution_of(found)
            if found.name == name and distribution.split()[0] == "imageapi":
                raise ImageAPIError(f"{name!r} is a {kind} of imageapi: choose another name")
    return name


def _files(name: str, kinds: Collection[str]) -> Mapping[str, str]:
    """Return the text of each file by its path in the package."""
    root = resources.files("imageapi.commands") / "plugin_template"
    left_out = {module for kind in _KINDS if kind not in kinds for module in _MODULES[kind]}
    about = "Images in an SQLite file," if name == _TEMPLATE else _in_words(kinds)
    files = {}
    for path, template in _templates(root, ""):
        if Path(path).stem.removeprefix("test_") not in left_out:
            text = _parts_of(template.read_text(encoding="utf-8"), kinds)
            text = text.replace("@ABOUT@", f"{about} for imageapi")
            files[_renamed(path, name)] = _renamed(text, name)
    return files


def _in_words(kinds: Collection[str]) -> str:
    *others, last = (f"a {kind}" for kind in kinds)
    words = f"{', '.join(others)} and {last}" if others else last
    return words.capitalize()


def _templates(folder: Traversable, above: str) -> list[tuple[str, Traversable]]:
    found = []
    for entry in sorted(folder.iterdir(), key=lambda one: one.name):
        if entry.is_dir():
            found += _templates(entry, f"{above}{entry.name}/")
        elif entry.name.endswith(_SUFFIX):
            found.append((f"{above}{entry.name.removesuffix(_SUFFIX)}", entry))
    return found


def _parts_of(text: str, kinds: Collection[str]) -> str:
    """Return a template without the parts of other kinds, and without the marks of parts."""
    wanted = {*kinds, *(f"not {kind}" for kind in _KINDS if kind not in kinds)}
    kept = _PART.sub(lambda part: part[2] if part[1] in wanted else "", text)
    return f"{kept.rstrip()}\n"


def _renamed(text: str, name: str) -> str:
    """Replace the driver's name; the module sqlite3 and texts about SQLite stay."""
    if name == _TEMPLATE:
        return text
    text = re.sub(r"SQLite(?=[A-Z])", name.capitalize(), text)
    return re.sub(r"(?<![a-z])sqlite(?![a-z0-9])", name, text)
