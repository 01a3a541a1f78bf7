# SPDX-License-Identifier: Apache-2.0
"""The URL of a request -> which image it is for, and whether it is for the details.

docs/wire.md, Routes, has the rules.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from imageapi.image import is_image_id

_PATH_SAFE = "/!$&'()*+,;=:@"
_PLAIN_PATH = re.compile(r"[/0-9A-Za-z_.-]*")  # needs no quoting; most ids are like this

_VERSIONS = ("/v1", "/v1.0", "/v1.1")


def image_id_of(script_name: str, path_info: str) -> str | None:
    """Return the image's id; None if the path is not that of an image.

    :param script_name: the path at which the application is mounted, as in WSGI.
        The rest of the path needs no version if this ends in one.
    :param path_info: the rest of the path.  It is percent-decoded, and its bytes
        are decoded as latin-1, as in WSGI.
    """
    version, found, image_id = path_info.rpartition("/images/")
    is_versioned = version in _VERSIONS or (not version and script_name.endswith(_VERSIONS))
    if not found or not is_versioned:
        return None
    try:
        image_id = image_id.encode("latin-1").decode()
    except UnicodeError:
        return None
    return image_id if is_image_id(image_id) else None


def quoted_path(environ: Mapping[str, Any]) -> str:
    """Return the percent-encoded path of a WSGI request, with the mount point."""
    path: str = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
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
