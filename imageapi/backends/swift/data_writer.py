# SPDX-License-Identifier: Apache-2.0
"""Writes data into Swift: a plain object, or a static large object if the data is large.

The data of an image gets a unique name, ``<object_prefix><id>/<random>``, which its record
contains.  So two uploads for the same image overwrite and remove only their own data.  The
ETag that Swift returns must match the bytes that were sent.
"""

import hashlib
import json
import logging
import re
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import unquote

from urllib3.response import HTTPResponse

from imageapi.backends.http_client.client import read_small
from imageapi.backends.http_client.status import ABSENT, close, refuse_status
from imageapi.backends.http_client.urls import Url
from imageapi.backends.swift.account import SwiftAccount
from imageapi.backends.swift.listing import LARGEST_LISTING, entries_of, objects_in
from imageapi.backends.swift.location import SwiftLocation
from imageapi.backends.swift.options import path_of
from imageapi.backends.swift.store import SwiftStore
from imageapi.backends.writing import DataWriter, HashingReader, Leftover, NewData, WriteError
from imageapi.errors import BackendError, ImageAPIError, LocationRefused
from imageapi.image import Image, Location

LOG = logging.getLogger(__name__)

# Small enough that a slow connection to Swift sends it within the timeout.
_CHUNK_SIZE = 64 * 1024

# The end of the name of an image's data, and of a segment of it.
_DATA = re.compile(r"/[0-9a-f]{32}")
_SEGMENT = re.compile(r"(.*/[0-9a-f]{32})/[0-9]{8}", re.DOTALL)


class SwiftDataWriter(DataWriter):
    """Puts and deletes the objects of the store's container, and their segments."""

    def __init__(self, store: SwiftStore) -> None:
        self._store = store
        self._account = store.account
        self._segments = segments_of(store.container)

    def put(self, image: Image, data: HashingReader, *, is_replacement: bool) -> NewData:
        try:
            target = self._store.location_of(f"{image.id}/{uuid.uuid4().hex}")
        except BackendError:
            raise WriteError("the id cannot be part of a Swift object name") from None
        objects = _NewObjects(self._account, target)
        try:
            _Upload(self._store, target, objects, data).run()
        except BaseException:
            objects.close()
            raise
        return objects

    def owns(self, image_id: str, location: Location) -> bool:
        try:
            found = SwiftLocation.parse(location.url)
            before = self._store.location_of(image_id).name
        except LocationRefused:
            return False
        return (
            found.container == self._store.container
            and found.name.startswith(before)
            and bool(_DATA.fullmatch(found.name[len(before) :]))
        )

    def remove(self, location: Location) -> None:
        found = SwiftLocation.parse(location.url)
        self._remove_object(found.container, found.name)

    def leftovers(self, used: Iterable[Location]) -> Iterator[Leftover]:
        container = self._store.container
        names = set(_names_in(container, used))
        for entry in objects_in(self._account, container, self._store.prefix):
            name = str(entry["name"])
            if name not in names and _DATA.fullmatch(name[-33:]):
                yield self._leftover(container, name, name, _age_of(entry))
        yield from self._segments_without(names)

    def _segments_without(self, names: Collection[str]) -> Iterator[Leftover]:
        """Find the segments of data with other names.

        All segments of an upload are as old as its newest one: it may still be running.
        """
        found: dict[str, list[Mapping[str, Any]]] = {}
        for entry in objects_in(self._account, self._segments, self._store.prefix):
            segment = _SEGMENT.fullmatch(str(entry["name"]))
            if segment is not None and segment[1] not in names:
                found.setdefault(segment[1], []).append(entry)
        for data_name, entries in found.items():
            seconds = min(map(_age_of, entries))
            for entry in entries:
                yield self._leftover(self._segments, str(entry["name"]), data_name, seconds)

    def _leftover(self, container: str, name: str, data_name: str, seconds: float) -> Leftover:
        return Leftover(
            f"{container}/{name}",
            seconds,
            partial(self._remove_object, container, name),
            data_name[len(self._store.prefix) : -33],
            Location(SwiftLocation.of(self._store.container, data_name).url),
        )

    def _remove_object(self, container: str, name: str) -> None:
        path = path_of(container, name)
        response, _ = self._account.request("HEAD", path, {"X-Newest": "true"})
        close(response)
        if response.status in ABSENT:
            return
        if response.headers.get("X-Static-Large-Object", "").lower() == "true":
            for segment in self._segments_of(path):
                remove_object(self._account, segment)
        remove_object(self._account, path)

    def _segments_of(self, path: str) -> list[str]:
        """Return the paths of a static large object's segments that are in our container."""
        response, url = self._account.request("GET", path, {}, query="multipart-manifest=get")
        manifest = read_small(response, url, LARGEST_LISTING)
        if response.status != 200:
            refuse_status(response, url)
        before = f"/{self._segments}/"
        names = [str(entry["name"]) for entry in entries_of(manifest, url)]
        return [
            path_of(self._segments, name.removeprefix(before))
            for name in names
            if name.startswith(before)
        ]


def segments_of(container: str) -> str:
    """Return the name of the container with the segments of a container's large objects."""
    return f"{container}_segments"


def _age_of(entry: Mapping[str, Any]) -> float:
    """Return how many seconds ago an object of a listing was written."""
    written = datetime.fromisoformat(str(entry["last_modified"])).replace(tzinfo=UTC)
    return (datetime.now(UTC) - written).total_seconds()


def _names_in(container: str, used: Iterable[Location]) -> Iterator[str]:
    for location in used:
        try:
            found = SwiftLocation.parse(location.url)
        except LocationRefused:
            continue
        if found.container == container:
            yield found.name


class SentBytes:
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
        self, store: SwiftStore, target: SwiftLocation, objects: "_NewObjects", data: HashingReader
    ) -> None:
        self._store = store
        self._target = target
        self._objects = objects
        self._data = data
        self._size = data.expected_size()
        # Read but not sent yet; empty only at the end of the data.
        self._ahead = data.read(_CHUNK_SIZE)

    def run(self) -> None:
        """Send all data.

        Data from a pipe has no known size; unless empty, it becomes a large object.
        """
        if not self._ahead or (self._size is not None and self._size <= self._store.segment_size):
            part = SentBytes(self._chunks())
            self._objects.put(self._target.path, part)
            if self._ahead:
                raise WriteError("the data grew while it was read: add it when it is complete")
        else:
            self._put_large()

    def _chunks(self) -> Iterator[bytes]:
        """Yield the bytes of one segment."""
        left = self._store.segment_size
        while self._ahead and left:
            chunk, self._ahead = self._ahead[:left], self._ahead[left:]
            left -= len(chunk)
            yield chunk
            self._ahead = self._ahead or self._data.read(_CHUNK_SIZE)

    def _put_large(self) -> None:
        container = segments_of(self._target.container)
        _make_container(self._store.account, path_of(container))
        manifest: list[dict[str, object]] = []
        while self._ahead:
            name = f"{self._target.name}/{len(manifest):08}"
            part = SentBytes(self._chunks())
            self._objects.put(path_of(container, name), part)
            path = f"/{container}/{name}"
            manifest.append({"path": path, "etag": part.etag, "size_bytes": part.size})
        etags = "".join(str(segment["etag"]) for segment in manifest)
        self._objects.put(
            self._target.path,
            SentBytes([json.dumps(manifest).encode()]),
            etag=hashlib.md5(etags.encode(), usedforsecurity=False).hexdigest(),
            query="multipart-manifest=put",
        )


class _NewObjects(NewData):
    """The objects of an upload, a manifest after its segments."""

    def __init__(self, account: SwiftAccount, target: SwiftLocation) -> None:
        self.location = Location(target.url)
        self._account = account
        self._put: list[str] = []

    def put(self, path: str, part: SentBytes, etag: str = "", query: str = "") -> None:
        """Put an object.

        :param etag: the ETag that Swift must return; by default that of the part.
        :raises WriteError: Swift refuses it, or returns another ETag.
        """
        # Note it first: an interruption may come after Swift has stored the object.
        self._put.append(path)
        response, url = self._account.request("PUT", path, {}, part, query)
        close(response)
        if response.status != 201:
            raise not_accepted(response, url)
        if response.headers.get("ETag", "").strip('"') != (etag or part.etag):
            raise WriteError(f"{url.shown}: Swift received other bytes than were sent")

    def close(self) -> None:
        """Unless they are kept, remove the objects, and log those that remain."""
        if self.is_kept:
            return
        left = self._put
        try:
            while left:
                remove_object(self._account, left[-1])
                left.pop()
        except ImageAPIError as error:
            LOG.error("clean-up stopped: %s", error)
        finally:
            for path in left:
                LOG.error("left behind; remove it with a Swift client: %s", unquote(path))


def remove_object(account: SwiftAccount, path: str) -> None:
    """Remove an object, if it exists.

    :raises WriteError: Swift refuses to.
    """
    response, url = account.request("DELETE", path, {})
    close(response)
    if response.status not in (204, *ABSENT):
        raise not_accepted(response, url)


def _make_container(account: SwiftAccount, path: str) -> None:
    """Create a container if necessary; the user may lack the permission to create it."""
    for method in ("HEAD", "PUT"):
        response, url = account.request(method, path, {})
        close(response)
        if response.status in (201, 202, 204):
            return
    raise not_accepted(response, url)


def not_accepted(response: HTTPResponse, url: Url) -> WriteError:
    """Return the error for a response to a change that Swift has refused."""
    why = {401: "credentials are required", 403: "no permission", 404: "no such container"}
    message = why.get(response.status, "")
    return WriteError(
        f"{url.shown} answers with status {response.status}{message and ': '}{message}"
    )
