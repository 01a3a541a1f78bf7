# SPDX-License-Identifier: Apache-2.0
"""The arguments that choose images in lists: the parameters of the API's lists.

The texts are read by the code that reads the API's (docs/wire.md, Lists).
"""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple
from urllib.parse import urlencode

from webob import exc

from imageapi.backends.base import RegistryBackend
from imageapi.backends.listing import SORT_KEYS, ListQuery
from imageapi.commands import arguments
from imageapi.commands.configured import OPERATOR
from imageapi.config.plugins import Loaded
from imageapi.errors import ConfigurationError
from imageapi.listing.parameters import Limits, parse_list_parameters

_IN = "equal to T, or with in:A,B equal to one of them"

#: Parameters of the API: the metavar and the help of each one's option.
_FILTERS: Mapping[str, tuple[str, str]] = {
    "name": ("T", f"name {_IN}"),
    "status": ("T", f"status {_IN}"),
    "container_format": ("T", f"container format {_IN}"),
    "disk_format": ("T", f"disk format {_IN}"),
    "min_ram": ("M", "minimum RAM equal to M, in MiB"),
    "min_disk": ("G", "minimum disk equal to G, in GiB"),
    "size_min": ("N", "at least N bytes"),
    "size_max": ("N", "at most N bytes"),
    "protected": ("true|false", "whether the image is protected"),
    "is_public": ("true|false", "whether the image is public"),
    "changes-since": ("TIME", "changed later than TIME, in ISO 8601"),
}

_PAGES: Mapping[str, tuple[str, str]] = {
    "sort_key": ("KEY", f"one of {', '.join(SORT_KEYS)}; default: created_at"),
    "sort_dir": ("asc|desc", "lowest or highest value first; default: desc"),
    "limit": ("N", "at most N images; default: all"),
    "marker": ("ID", "begin after this image"),
}

# As many images as a registry gets for one request or query, if the operator wants all.
_PAGE = 1000


class Choice(NamedTuple):
    """What the arguments say.

    :ivar query: for every project, without the image of the marker.
    :ivar marker: the id of the image after which the list begins; None for the whole list.
    :ivar limit: how many images are wanted; None for all.
    :ivar given: the options that were given.
    """

    query: ListQuery
    marker: str | None
    limit: int | None
    given: tuple[str, ...]


def add_filters(parser: argparse.ArgumentParser, about: str) -> None:
    """Add the arguments that choose images; `choice_of` reads them.

    :param about: a sentence for the help.
    """
    group = parser.add_argument_group("filters", about)
    _add(group, _FILTERS)
    group.add_argument(
        "--property",
        dest="list_property",
        metavar="K=V",
        type=arguments.key_and_value,
        action="append",
        default=[],
        help="property K equal to V; may be repeated",
    )


def add_pages(parser: argparse.ArgumentParser) -> None:
    """Add the arguments for the order and the part of a list; `choice_of` reads them."""
    _add(parser, _PAGES)


def _add(parser: "argparse._ActionsContainer", parameters: Mapping[str, tuple[str, str]]) -> None:
    for name, (metavar, about) in parameters.items():
        option = _option(name)
        parser.add_argument(
            option, dest=f"list_{name}", metavar=metavar, type=arguments.utf8, help=about
        )


def choice_of(options: argparse.Namespace, parser: argparse.ArgumentParser) -> Choice:
    """Read the arguments; without any, the choice is every image, the newest first.

    A wrong value ends the command with status 2.
    """
    values = vars(options)
    given = {
        name: values[f"list_{name}"]
        for name in (*_FILTERS, *_PAGES)
        if values.get(f"list_{name}") is not None
    }
    properties = {f"property-{key}": text for key, text in options.list_property}
    query_string = urlencode({**given, **properties})
    try:
        parameters = parse_list_parameters(query_string, OPERATOR, Limits(_PAGE, sys.maxsize))
    except exc.HTTPBadRequest as error:
        name, _, rule = str(error.detail).partition(" ")
        parser.error(f"argument {_option(name)}: {rule.removesuffix('.')}")
    query = replace(parameters.query, all_projects=True)
    options_given = (*map(_option, given), *(["--property"] if properties else []))
    limit = query.limit if "limit" in given else None
    return Choice(query, parameters.marker, limit, options_given)


def refuse_choice(registry: Loaded[RegistryBackend], given: tuple[str, ...]) -> None:
    """Refuse options that need a registry that lists, if this one does not.

    :raises ConfigurationError: it does not.
    """
    if given and not registry.backend.can_list:
        names = ", ".join(given)
        problem = f"{registry} (driver {registry.driver!r}) cannot filter or sort its images"
        raise ConfigurationError([f"{problem}: leave out {names}"])


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
