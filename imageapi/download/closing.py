# SPDX-License-Identifier: Apache-2.0
"""Closes data, whatever its store does then."""

import logging

from imageapi.backends.base import Blob

LOG = logging.getLogger(__name__)


def close_blob(blob: Blob, image_id: str, location: object) -> None:
    """Close a Blob; if that fails, log it and raise nothing.

    :param image_id, location: for the log.
    """
    try:
        blob.close()
    except Exception as error:
        LOG.warning("image %r: %s: closing failed", image_id, location, exc_info=error)
