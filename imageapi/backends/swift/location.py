# SPDX-License-Identifier: Apache-2.0
"""Locations of data in Swift: ours, and those that Glance has written.

No error's text holds any part of one, since it may hold credentials.
"""

import re
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

from imageapi.backends.swift.options import path_of
from imageapi.errors import LocationRefused

SCHEMES = frozenset({"swift", "swift+http", "swift+https", "swift+config"})

_NO_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


class SwiftLocation(NamedTuple):
    """An object.

    :ivar path: what follows the account's URL.
    """

    container: str
    name: str
    path: str

    @classmethod
    def of(cls, container: str, name: str) -> "SwiftLocation":
        """The location of an object.

        :raises LocationRefused: no URL can name it.
        """
        try:
            return cls(container, name, path_of(container, name))
        except ValueError as error:
            raise LocationRefused(f"not a valid Swift object name: {error}") from None

    @classmethod
    def parse(cls, url: str) -> "SwiftLocation":
        """Read ``swift://CONTAINER/OBJECT`` and glance_store's locations.

        Of the latter only the last two segments count: where it lies, and by
        whose credentials it is read, is the configuration's to say.

        :raises LocationRefused: it is neither.
        """
        scheme, separator, rest = url.partition("://")
        scheme = scheme.lower()
        if scheme not in SCHEMES or not separator:
            raise LocationRefused("not a Swift location: write swift://CONTAINER/OBJECT")
        if "?" in rest or "#" in rest or _NO_PERCENT.search(rest):
            raise LocationRefused(
                "a Swift location must have no query or fragment: write %3F, %23 and %25"
            )
        authority, _, name = rest.partition("/")
        if scheme == "swift" and "@" not in authority:
            container = authority
        else:
            # What comes before is a server, or the name of one, and credentials.
            *before, container, name = ["", "", *rest.split("/")]
            if len(before) < 3:
                raise LocationRefused("a Glance location must end in /CONTAINER/OBJECT")
        if not container or not name:
            raise LocationRefused("a Swift location must name a container and an object")
        return cls.of(_decoded(container), _decoded(name))

    @property
    def url(self) -> str:
        """The location in our form."""
        return f"swift://{quote(self.container, safe='')}/{quote(self.name, safe='/')}"


def _decoded(text: str) -> str:
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeError:
        raise LocationRefused("a Swift location must be UTF-8") from None
