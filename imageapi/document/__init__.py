# SPDX-License-Identifier: Apache-2.0
"""JSON documents of images: `parse` reads a record, the others write."""

from imageapi.document.parsing import found, image_of, parse
from imageapi.document.writing import (
    details,
    details_of_all,
    in_brief,
    in_detail,
    members,
    record,
    shared_images,
    versions,
)

__all__ = [
    "details",
    "details_of_all",
    "found",
    "image_of",
    "in_brief",
    "in_detail",
    "members",
    "parse",
    "record",
    "shared_images",
    "versions",
]
