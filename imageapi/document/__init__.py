# SPDX-License-Identifier: Apache-2.0
"""JSON documents of images: `parse` reads a record, `record` and `details` write one."""

from imageapi.document.parsing import found, parse
from imageapi.document.writing import details, record

__all__ = ["parse", "record", "found", "details"]
