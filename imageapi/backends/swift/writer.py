# SPDX-License-Identifier: Apache-2.0
"""Put an image into the Swift store and its record into the Swift registry.

The data is uploaded first, under a unique name, and as a static large object if it
is large.  The record is uploaded last.  The ETag that Swift returns must match the
bytes that were sent.  If a later step fails or is interrupted, everything that was
uploaded is removed again.
"""

import hashlib
import json
import logging
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Self
from urllib.parse import unquote

from urllib3.response import HTTPResponse

from imageapi.backends.http_client.client import read_small
from imageapi.backends.http_client.status import ABSENT, close
from imageapi.backends.http_client.urls import Url
from imageapi.backends.swift.account import SwiftAccount
from imageapi.backends.swift.location import SwiftLocation
from imageapi.backends.swift.options import path_of
from imageapi.backends.swift.registry import SwiftRegistry
from imageapi.backends.swift.store import SwiftStore
from imageapi.backends.upload import HashingReader, UploadError, record_of
from imageapi.errors import BackendError, ImageAPIError
from imageapi.image import Image, Location

LOG = logging.getLogger(__name__)

# Small enough that a slow connection to Swift sends it within the timeout.
_CHUNK_SIZE = 64 * 1024

# Larger than any record.
_LARGEST_RECORD = 2**21

# The status for If-None-Match: * if the object exists.
_EXISTS = 412


def add_image(
    registry: SwiftRegistry, store: SwiftStore, image: Image, new: HashingReader
) -> Image:
    """Add an image.

    Its data gets a unique name, which the record contains.  So two uploads of the same
    image at the same time overwrite and remove only their own data.

    :param image: its details; size, hashes, times and the location are filled in.
    :param new: the data; it is read to its end.
    :returns: the image as it was recorded.
    :raises UploadError: the id exists, Swift refuses a request, or the data cannot be read.
    """
    try:
        target = store.location_of(f"{image.id}/{uuid.uuid4().hex}")
        record = registry.path(image.id)
    except (BackendError, ValueError):
        raise UploadError(
            f"image {image.id}: the id cannot be part of a Swift object name"
        ) from None
    try:
        _check_absent(registry.account, record)
        with _NewObjects(store.account, registry.account) as objects:
            _Upload(store, target, objects, new).run()
            image = replace(new.complete(image), locations=(Location(target.url),))
            objects.put_record(record, record_of(image))
    except (BackendError, UploadError) as error:
        raise UploadError(f"image {image.id}: {error}") from None
    return image


class _Part:
    """The body of an upload: counts and hashes its bytes, to compare with Swift's ETag.

    It can be read only once, so its request is sent only once.  After a second
    request it would be unknown whether the stored object is ours.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self._md5 = hashlib.md5(usedforsecurity=False)
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._md5.update(chunk)
            self.size += len(chunk)
            yield chunk

    @property
    def etag(self) -> str:
        """The MD5 of the bytes read so far."""
        return self._md5.hexdigest()


class _Upload:
    """Puts the data of an image into Swift."""

    def __init__(
        self, store: SwiftStore, target: SwiftLocation, objects: "_NewObjects", new: HashingReader
    ) -> None:
        self._store = store
        self._target = target
        self._objects = objects
        self._new = new
        self._size = new.expected_size()
        # Read but not sent yet; empty only at the end of the data.
        self._ahead = new.read(_CHUNK_SIZE)

    def run(self) -> None:
        """Send all data.

        Data from a pipe has no known size; unless empty, it becomes a large object.
        """
        if not self._ahead or (self._size is not None and self._size <= self._store.segment_size):
            part = _Part(self._chunks())
            self._objects.put(self._target.path, part)
            if self._ahead:
                raise UploadError("the data grew while it was read: add it when it is complete")
        else:
            self._put_large()

    def _chunks(self) -> Iterator[bytes]:
        """Yield the bytes of one segment."""
        left = self._store.segment_size
        while self._ahead and left:
            chunk, self._ahead = self._ahead[:left], self._ahead[left:]
            left -= len(chunk)
            yield chunk
            self._ahead = self._ahead or self._new.read(_CHUNK_SIZE)

    def _put_large(self) -> None:
        container = f"{self._target.container}_segments"
        _make_container(self._store.account, path_of(container))
        manifest: list[dict[str, object]] = []
        while self._ahead:
            name = f"{self._target.name}/{len(manifest):08}"
            part = _Part(self._chunks())
            self._objects.put(path_of(container, name), part)
            path = f"/{container}/{name}"
            manifest.append({"path": path, "etag": part.etag, "size_bytes": part.size})
        etags = "".join(str(segment["etag"]) for segment in manifest)
        self._objects.put(
            self._target.path,
            _Part([json.dumps(manifest).encode()]),
            etag=hashlib.md5(etags.encode(), usedforsecurity=False).hexdigest(),
            query="multipart-manifest=put",
        )


class _NewObjects:
    """The uploaded objects, removed again after an exception unless they are kept."""

    def __init__(self, data: SwiftAccount, records: SwiftAccount) -> None:
        self._data = data
        self._records = records
        self._put: list[str] = []
        self._record: tuple[str, bytes] | None = None
        self._is_kept = False

    def __enter__(self) -> Self:
        return self

    def put(self, path: str, part: _Part, etag: str = "", query: str = "") -> None:
        """Put an object.

        :param etag: the ETag that Swift must return; by default that of the part.
        :raises UploadError: Swift refuses it, or returns another ETag.
        """
        # Note it first: an interruption may come after Swift has stored the object.
        self._put.append(path)
        response, url = self._data.request("PUT", path, {}, part, query)
        close(response)
        if response.status != 201:
            raise _not_taken(response, url)
        if response.headers.get("ETag", "").strip('"') != (etag or part.etag):
            raise UploadError(f"{url.shown}: Swift received other bytes than were sent")

    def put_record(self, path: str, record: bytes) -> None:
        """Put the record if none exists, and then keep all objects.

        :raises UploadError: there is a record already, or Swift refuses this one.
        """
        self._record = path, record
        response, url = self._records.request("PUT", path, {"If-None-Match": "*"}, _Part([record]))
        close(response)
        if response.status == _EXISTS:
            raise UploadError(f"{url.shown} exists already")
        if response.status != 201:
            raise _not_taken(response, url)
        # For two uploads at the same moment, Swift may have reported success to both.
        if _read(self._records, path) != record:
            raise UploadError(f"{url.shown} exists already")
        self._is_kept = True

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None and not self._is_kept:
            try:
                if self._record is not None:
                    self._remove_record(*self._record)
            finally:
                self._remove_data()

    def _remove_record(self, path: str, record: bytes) -> None:
        """Remove the record if it is ours: Swift may have stored it despite an error."""
        try:
            if _read(self._records, path) == record:
                _remove(self._records, path)
        except ImageAPIError as error:
            LOG.error("may be left behind; if so, remove it by hand: %s (%s)", unquote(path), error)

    def _remove_data(self) -> None:
        """Remove the objects, a manifest before its segments; log those that remain."""
        left = self._put
        try:
            while left:
                _remove(self._data, left[-1])
                left.pop()
        except ImageAPIError as error:
            LOG.error("clean-up stopped: %s", error)
        finally:
            for path in left:
                LOG.error("left behind; remove it by hand: %s", unquote(path))


def _read(account: SwiftAccount, path: str) -> bytes:
    response, url = account.request("GET", path, {"X-Newest": "true"})
    return read_small(response, url, _LARGEST_RECORD)


def _remove(account: SwiftAccount, path: str) -> None:
    response, url = account.request("DELETE", path, {})
    close(response)
    if response.status not in (204, *ABSENT):
        raise _not_taken(response, url)


def _make_container(account: SwiftAccount, path: str) -> None:
    """Create a container if necessary; the user may lack the permission to create it."""
    for method in ("HEAD", "PUT"):
        response, url = account.request(method, path, {})
        close(response)
        if response.status in (201, 202, 204):
            return
    raise _not_taken(response, url)


def _check_absent(account: SwiftAccount, path: str) -> None:
    response, url = account.request("HEAD", path, {})
    close(response)
    if response.status == 200:
        raise UploadError(f"{url.shown} exists already")
    if response.status not in ABSENT:
        raise _not_taken(response, url)


def _not_taken(response: HTTPResponse, url: Url) -> UploadError:
    why = {401: "credentials are required", 403: "no permission", 404: "no such container"}
    message = why.get(response.status, "")
    return UploadError(
        f"{url.shown} answers with status {response.status}{message and ': '}{message}"
    )
