# SPDX-License-Identifier: Apache-2.0
"""Writes the records of a container.

Swift evaluates ``If-None-Match: *`` when a request begins, so of two uploads at the same
moment both may succeed.  Each record is therefore read back, at its newest copy.
"""

from imageapi.backends.http_client.client import read_small
from imageapi.backends.http_client.status import ABSENT, REFUSED, close, refuse_status
from imageapi.backends.swift.account import NO_NAME
from imageapi.backends.swift.data_writer import SentBytes, not_accepted
from imageapi.backends.swift.records import LARGEST_RECORD
from imageapi.backends.swift.registry import SwiftRegistry
from imageapi.backends.writing import RecordWriter, WriteError
from imageapi.errors import ImageNotFound

# The status for If-None-Match: * if the object exists.
_EXISTS = 412


class SwiftRecordWriter(RecordWriter):
    """Puts and deletes whole objects."""

    def __init__(self, registry: SwiftRegistry) -> None:
        self._registry = registry
        self._account = registry.account

    def read(self, image_id: str) -> bytes:
        response, url = self._account.request("GET", self._path(image_id), {"X-Newest": "true"})
        record = read_small(response, url, LARGEST_RECORD)
        if response.status in (*ABSENT, NO_NAME):
            raise ImageNotFound("no record")
        if response.status in REFUSED:
            raise not_accepted(response, url)
        if response.status != 200:
            refuse_status(response, url)
        return record

    def create(self, image_id: str, record: bytes) -> None:
        self._put(image_id, record, {"If-None-Match": "*"})

    def replace(self, image_id: str, old: bytes, new: bytes) -> None:
        self._check_unchanged(image_id, old)
        self._put(image_id, new, {})

    def remove(self, image_id: str, old: bytes) -> None:
        self._check_unchanged(image_id, old)
        response, url = self._account.request("DELETE", self._path(image_id), {})
        close(response)
        if response.status not in (204, *ABSENT):
            raise not_accepted(response, url)

    def _put(self, image_id: str, record: bytes, condition: dict[str, str]) -> None:
        if len(record) > LARGEST_RECORD:
            raise WriteError(
                f"the record would have {len(record)} bytes; at most {LARGEST_RECORD} are allowed"
            )
        path = self._path(image_id)
        response, url = self._account.request("PUT", path, condition, SentBytes([record]))
        close(response)
        if response.status == _EXISTS:
            raise WriteError(f"it exists already: {url.shown}")
        if response.status != 201:
            raise not_accepted(response, url)
        if self.read(image_id) != record:
            raise WriteError(f"{url.shown} was written by somebody else at the same moment")

    def _check_unchanged(self, image_id: str, old: bytes) -> None:
        if self.read(image_id) != old:
            raise WriteError("the record was changed meanwhile: try again")

    def _path(self, image_id: str) -> str:
        try:
            return self._registry.path(image_id)
        except ValueError:
            raise WriteError("the id cannot be part of a Swift object name") from None
