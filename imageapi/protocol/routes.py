# SPDX-License-Identifier: Apache-2.0
"""The path of a request -> the id of the image it is about (docs/wire.md, Routes)."""

from imageapi.image import is_image_id

_VERSIONS = ("/v1", "/v1.0", "/v1.1")


def image_id_of(script_name: str, path_info: str) -> str | None:
    """The image's id; None when the path is not that of an image.

    :param script_name: where the application is mounted, as WSGI has it: a
        path without a version is one where this ends in it.
    :param path_info: the rest of the path, percent-decoded and, as WSGI has
        it, its bytes decoded as latin-1.
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
