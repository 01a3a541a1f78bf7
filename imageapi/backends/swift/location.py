# SPDX-License-Identifier: Apache-2.0
"""Locations of data in Swift: those of imageapi, and those that Glance has written.

No error text contains any part of a location, because it may contain credentials.
"""

import re
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

from imageapi.backends.swift.options import path_of
from imageapi.errors import LocationRefused

SCHEMES = frozenset({"swift", "swift+http", "swift+https", "swift+config"})

_NO_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


class SwiftLocation(NamedTuple):
    """The location of an object.

    :ivar path: the path of the object after the account's URL.
    """

    container: str
    name: str
    path: str

    @classmethod
    def of(cls, container: str, name: str) -> "SwiftLocation":
        """Return the location of an object.

        :raises LocationRefused: no URL can have this name.
        """
        try:
            return cls(container, name, path_of(container, name))
        except ValueError as error:
            raise LocationRefused(f"not a valid Swift object name: {error}") from None

    @classmethod
    def parse(cls, url: str) -> "SwiftLocation":
        """Parse ``swift://CONTAINER/OBJECT``, or a location of glance_store.

        Only the last two segments of a glance_store location are used.  The
        configuration decides on the account and the credentials.

        :raises LocationRefused: the URL is neither.
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
            # The segments before are credentials and a server, or a reference to one.
            *before, container, name = ["", "", *rest.split("/")]
            if len(before) < 3:
                raise LocationRefused("a Glance location must end in /CONTAINER/OBJECT")
        if not container or not name:
            raise LocationRefused("a Swift location must name a container and an object")
        return cls.of(_decoded(container), _decoded(name))

    @property
    def url(self) -> str:
        """The location as a ``swift:`` URL of imageapi."""
        return f"swift://{quote(self.container, safe='')}/{quote(self.name, safe='/')}"


def _decoded(text: str) -> str:
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeError:
        raise LocationRefused("a Swift location must be UTF-8") from None
