# SPDX-License-Identifier: Apache-2.0
"""The path of a request -> the id of the image it is about (docs/wire.md, Routes)."""

import re

from imageapi.image import is_image_id

_VERSION = r"/v1(?:\.[01])?"
_PATH = re.compile(rf"(?P<version>{_VERSION})?/images/(?P<image_id>[^/]+)", re.DOTALL)
_VERSIONED_MOUNT = re.compile(rf".*{_VERSION}", re.DOTALL)


def image_id_of(script_name: str, path_info: str) -> str | None:
    """The image's id; None when the path is not that of an image.

    :param script_name: where the application is mounted, as WSGI has it: a
        path without a version is one where this ends in it.
    :param path_info: the rest of the path, percent-decoded and, as WSGI has
        it, its bytes decoded as latin-1.
    """
    match = _PATH.fullmatch(path_info)
    if match is None:
        return None
    if match["version"] is None and not _VERSIONED_MOUNT.fullmatch(script_name):
        return None
    try:
        image_id = match["image_id"].encode("latin-1").decode()
    except UnicodeError:
        return None
    return image_id if is_image_id(image_id) else None
