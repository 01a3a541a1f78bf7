# SPDX-License-Identifier: Apache-2.0
"""The URL of a request -> the resource that it is of, and whether it is for the details.

docs/wire.md, Routes, has the rules.
"""

import re
from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from imageapi.image import is_image_id

_PATH_SAFE = "/!$&'()*+,;=:@"
_PLAIN_PATH = re.compile(r"[/0-9A-Za-z_.-]*")  # needs no quoting; most ids are like this

_VERSIONS = ("/v1", "/v1.0", "/v1.1")
_VERSION = re.compile(r"/v1(\.[01])?(?=/|\Z)")
_MOUNTED_VERSION = re.compile(r"/v1(\.[01])?/?\Z")


class Kind(Enum):
    """What a URL is of."""

    IMAGE = "an image"
    IMAGES = "a list of images"
    DETAIL = "a list of images with their details"
    MEMBERS = "the members of an image"
    SHARED = "the images that are shared with a project"
    VERSION = "the API versions, at the URL of a version"
    VERSIONS = "the API versions, at the URL of them all"
    ROOT = "the API versions, at the mount point"


class Route(NamedTuple):
    """The resource of a URL.

    :ivar name: the id of the image or of the project; empty if the resource has none.
    """

    kind: Kind
    name: str = ""

    @property
    def is_list(self) -> bool:
        """Whether only a registry that can list has this resource."""
        return self.kind in (Kind.IMAGES, Kind.DETAIL, Kind.SHARED)

    @property
    def is_versioned(self) -> bool:
        """Whether the URL has the version of the API, so that a middleware may answer."""
        return self.kind not in (Kind.VERSIONS, Kind.ROOT)


_NAMED = {
    ("", "images"): Kind.IMAGE,
    ("", "images", "members"): Kind.MEMBERS,
    ("", "shared-images"): Kind.SHARED,
}
_NAMELESS = {"": Kind.VERSION, "/": Kind.VERSION, "/images": Kind.IMAGES}
_NAMELESS["/images/detail"] = Kind.DETAIL
_UNVERSIONED = {"": Kind.ROOT, "/": Kind.ROOT, "/versions": Kind.VERSIONS}


def route_of(script_name: str, path_info: str) -> Route | None:
    """Return the resource of a URL; None if there is none.

    :param script_name: the path at which the application is mounted, as in WSGI.
        The rest of the path needs no version if this ends in one.
    :param path_info: the rest of the path.  It is percent-decoded, and its bytes
        are decoded as latin-1, as in WSGI.
    """
    version = _VERSION.match(path_info)
    if version is not None:
        return _versioned(path_info[version.end() :])
    if script_name.endswith(_VERSIONS):
        return _versioned(path_info)
    kind = _UNVERSIONED.get(path_info)
    return kind and Route(kind)


def _versioned(path: str) -> Route | None:
    kind = _NAMELESS.get(path)
    if kind is not None:
        return Route(kind)
    try:
        empty, collection, name, *rest = path.encode("latin-1").decode().split("/")
    except (UnicodeError, ValueError):
        return None
    kind = _NAMED.get((empty, collection, *rest))
    return Route(kind, name) if kind is not None and is_image_id(name) else None


def mount_path(environ: Mapping[str, Any]) -> str:
    """Return the percent-encoded path of a WSGI request at which the API is mounted.

    If the mount point ends in a version, it is without that.
    """
    return _MOUNTED_VERSION.sub("", _quoted(environ.get("SCRIPT_NAME", "")))


def quoted_path(environ: Mapping[str, Any]) -> str:
    """Return the percent-encoded path of a WSGI request, with the mount point."""
    return _quoted(environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""))


def _quoted(path: str) -> str:
    if _PLAIN_PATH.fullmatch(path):
        return path
    return quote(path.encode("latin-1", "replace"), safe=_PATH_SAFE)


def asks_for_details(query: str) -> bool:
    """Whether the query has the parameter ``format=json``, spelt exactly so.

    :param query: is ignored if its percent-decoded bytes are not UTF-8.
    """
    if "format=json" not in query.split("&"):
        return False
    try:
        unquote_to_bytes(query.encode("latin-1")).decode()
    except UnicodeError:
        return False
    return True
