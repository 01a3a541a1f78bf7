# SPDX-License-Identifier: Apache-2.0
"""The objects in which records are."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from urllib3.response import HTTPResponse

from imageapi import document
from imageapi.backends.http_client.client import read_small
from imageapi.backends.http_client.status import ABSENT, close, refuse_status
from imageapi.backends.swift.account import NO_NAME, SwiftAccount
from imageapi.backends.swift.listing import objects_in
from imageapi.backends.swift.options import path_of
from imageapi.errors import ImageNotFound, MalformedImage
from imageapi.image import Image, is_image_id

LARGEST_RECORD = 1024 * 1024

#: Return the newest copy, not that of a replica that missed a change.
NEWEST: Mapping[str, str] = {"X-Newest": "true"}

# A symbolic link has this hash, whatever the bytes of its target are.
_HASH_OF_NOTHING = "d41d8cd98f00b204e9800998ecf8427e"

# The headers of objects whose bytes are those of other objects.
_MANIFESTS = ("X-Object-Manifest", "X-Static-Large-Object")


class ReadRecord(NamedTuple):
    """The result of reading an object.

    :ivar etag: as in the response; may be empty.
    :ivar content_hash: the hash of the object's bytes, as in a container's listing.
        Empty if it is unknown.
    """

    etag: str
    content_hash: str
    found: Image | MalformedImage


class SwiftRecords:
    """Reads the objects ``<prefix><id>.json`` of a container."""

    def __init__(self, account: SwiftAccount, container: str, prefix: str) -> None:
        self._account = account
        self._container = container
        self._prefix = prefix

    def read(self, image_id: str, headers: Mapping[str, str]) -> ReadRecord | None:
        """Return a record; None for status 304.

        :param headers: of the request.
        :raises ImageNotFound: the record does not exist.
        :raises MalformedImage: the object is too large for a record.
        :raises BackendUnavailable, BadReply: Swift does not return it.
        """
        try:
            path = self.path(image_id)
        except ValueError:
            raise ImageNotFound("the id cannot be part of a Swift object name") from None
        response, url = self._account.request("GET", path, headers)
        if response.status == 200 and (response.length_remaining or 0) > LARGEST_RECORD:
            close(response)
            raise MalformedImage(f"{url.shown}: the record is larger than {LARGEST_RECORD} bytes")
        # Read the body of any status, so that the connection can be kept.
        data = read_small(response, url, LARGEST_RECORD)
        if response.status == 304 and "If-None-Match" in headers:
            return None
        if response.status in (*ABSENT, NO_NAME):
            raise ImageNotFound("no record")
        if response.status != 200:
            refuse_status(response, url)
        etag = response.headers.get("ETag", "").strip()
        return ReadRecord(
            etag, _content_hash(response, etag), document.found(data, image_id, url.shown)
        )

    def hashes(self) -> Iterator[tuple[str, str]]:
        """Yield the id of each record and the hash of its bytes, by the container's listing.

        The hash is empty if the listing does not say it.

        :raises BackendUnavailable, BadReply: Swift does not return the listing.
        """
        for entry in objects_in(self._account, self._container, self._prefix):
            name = str(entry["name"]).removeprefix(self._prefix)
            if name.endswith(".json") and is_image_id(name.removesuffix(".json")):
                yield name.removesuffix(".json"), _listed_hash(entry)

    def path(self, image_id: str) -> str:
        """Return the path of an image's record after the account's URL.

        :raises ValueError: no URL can have this name.
        """
        return path_of(self._container, f"{self._prefix}{image_id}.json")


def _listed_hash(entry: Mapping[str, Any]) -> str:
    content_hash = entry.get("hash")
    if not isinstance(content_hash, str) or content_hash == _HASH_OF_NOTHING:
        return ""
    return content_hash


def _content_hash(response: HTTPResponse, etag: str) -> str:
    if any(name in response.headers for name in _MANIFESTS):
        return ""
    # Swift's etag-quoter adds quotation marks; a listing has none.
    return etag.strip('"')
