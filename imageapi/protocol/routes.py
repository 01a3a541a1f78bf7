# SPDX-License-Identifier: Apache-2.0
"""The path of a request -> the id of the requested image (docs/wire.md, Routes)."""

from imageapi.image import is_image_id

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
