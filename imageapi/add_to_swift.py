# SPDX-License-Identifier: Apache-2.0
"""Put an image into the Swift store and its record into the Swift registry.

The data first, as a static large object where it is large, the record last.
What Swift says of the bytes it got must be what was sent.  What was put there
is taken away again where the rest fails, or is interrupted.
"""

import functools
import hashlib
import json
import logging
import uuid
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Self
from urllib.parse import unquote

from urllib3.response import HTTPResponse

from imageapi.adding import AddError, NewData, record_of
from imageapi.backends.answers import ABSENT, close
from imageapi.backends.base import RegistryBackend, StoreBackend
from imageapi.backends.swift_account import SwiftAccount, path_of
from imageapi.backends.swift_location import SwiftLocation
from imageapi.backends.swift_registry import SwiftRegistry
from imageapi.backends.swift_store import SwiftStore
from imageapi.backends.urls import Url
from imageapi.errors import BackendError, ConfigurationError, ImageAPIError
from imageapi.image import Image

LOG = logging.getLogger(__name__)

# So little that a slow way to Swift takes it within a timeout.
_CHUNK_SIZE = 64 * 1024

# Something has that name.
_EXISTS = 412


def adder(registry: RegistryBackend, store: StoreBackend) -> Callable[[Image, NewData], Image]:
    """What adds images to these two.

    :raises ConfigurationError: they are not Swift's.
    """
    if not isinstance(registry, SwiftRegistry) or not isinstance(store, SwiftStore):
        raise ConfigurationError(["add knows no other backends named swift than imageapi's"])
    return functools.partial(add_image, registry, store)


def add_image(registry: SwiftRegistry, store: SwiftStore, image: Image, new: NewData) -> Image:
    """Add an image.

    :param image: its details; size, hashes and times are filled in.
    :param new: the data, read to its end.
    :returns: the image as it was recorded.
    :raises AddError: the id exists, Swift does not take it, or the data cannot be read.
    """
    try:
        data, record = store.location_of(image.id), registry.path(image.id)
    except (BackendError, ValueError) as error:
        raise AddError(f"image {image.id}: Swift can have no object of that name") from error
    try:
        for account, path in ((registry.account, record), (store.account, data.path)):
            _refuse_existing(account, path)
        with _NewObjects() as objects:
            _Upload(store, data, objects, new).run()
            image = new.complete(image)
            objects.put(registry.account, record, _Part([record_of(image)]))
            objects.keep()
    except BackendError as error:
        raise AddError(f"image {image.id}: {error}") from None
    return image


class _Part:
    """Bytes on their way to Swift, which must be what it then has.

    Can be read only once, so a request with it is sent only once: after a
    second one nobody could tell whether what is there is ours.
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
        """The MD5 of what was read of it."""
        return self._md5.hexdigest()


class _Upload:
    """Puts the data of an image into Swift."""

    def __init__(
        self, store: SwiftStore, target: SwiftLocation, objects: "_NewObjects", new: NewData
    ) -> None:
        self._store = store
        self._target = target
        self._objects = objects
        self._new = new
        self._size = new.expected_size()
        # Read, and not sent yet; empty only at the end of the data.
        self._ahead = new.read(_CHUNK_SIZE)

    def run(self) -> None:
        """Send all of it.

        Of what comes through a pipe nobody knows whether it will be large.
        """
        if not self._ahead or (self._size is not None and self._size <= self._store.segment_size):
            part = _Part(self._chunks())
            self._objects.put(self._store.account, self._target.path, part)
            if self._ahead:
                raise AddError("the data grew while it was read")
        else:
            self._put_large()

    def _chunks(self) -> Iterator[bytes]:
        """As many bytes as one segment has."""
        left = self._store.segment_size
        while self._ahead and left:
            chunk, self._ahead = self._ahead[:left], self._ahead[left:]
            left -= len(chunk)
            yield chunk
            self._ahead = self._ahead or self._new.read(_CHUNK_SIZE)

    def _put_large(self) -> None:
        container = f"{self._target.container}_segments"
        _make_container(self._store.account, path_of(container))
        # Of this upload alone, whoever else adds the same image now.
        folder = f"{self._target.name}/{uuid.uuid4().hex}"
        manifest: list[dict[str, object]] = []
        while self._ahead:
            name = f"{folder}/{len(manifest):08}"
            part = _Part(self._chunks())
            self._objects.put(self._store.account, path_of(container, name), part)
            path = f"/{container}/{name}"
            manifest.append({"path": path, "etag": part.etag, "size_bytes": part.size})
        etags = "".join(str(segment["etag"]) for segment in manifest)
        self._objects.put(
            self._store.account,
            self._target.path,
            _Part([json.dumps(manifest).encode()]),
            etag=hashlib.md5(etags.encode(), usedforsecurity=False).hexdigest(),
            query="multipart-manifest=put",
        )


class _NewObjects:
    """What is put into Swift, and taken away again unless it is kept."""

    def __init__(self) -> None:
        self._put: list[tuple[SwiftAccount, str]] = []

    def __enter__(self) -> Self:
        return self

    def put(
        self, account: SwiftAccount, path: str, part: _Part, etag: str = "", query: str = ""
    ) -> None:
        """Put an object where there is none.

        :param etag: what Swift is to say of it; by default the part's own.
        :raises AddError: there is one, or Swift does not take it as it is.
        """
        # First: an interruption may come when Swift has it and we do not know.
        self._put.append((account, path))
        response, url = account.request("PUT", path, {"If-None-Match": "*"}, part, query)
        close(response)
        if response.status == _EXISTS:
            self._put.pop()
            raise AddError(f"{url.shown} exists already")
        if response.status != 201:
            raise _not_taken(response, url)
        if response.headers.get("ETag", "").strip('"') != (etag or part.etag):
            raise AddError(f"{url.shown}: Swift has got other bytes than were sent")

    def keep(self) -> None:
        """From now on no exception takes anything away."""
        self._put.clear()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # What others refer to goes last.
        for account, path in reversed(self._put if error is not None else []):
            _remove(account, path)


def _remove(account: SwiftAccount, path: str) -> None:
    try:
        response, url = account.request("DELETE", path, {})
        close(response)
        if response.status not in (204, *ABSENT):
            raise _not_taken(response, url)
    except ImageAPIError as error:
        LOG.error("left behind, to be removed by hand: %s (%s)", unquote(path), error)


def _make_container(account: SwiftAccount, path: str) -> None:
    response, url = account.request("PUT", path, {})
    close(response)
    if response.status not in (201, 202):
        raise _not_taken(response, url)


def _refuse_existing(account: SwiftAccount, path: str) -> None:
    response, url = account.request("HEAD", path, {})
    close(response)
    if response.status == 200:
        raise AddError(f"{url.shown} exists already")
    if response.status not in ABSENT:
        raise _not_taken(response, url)


def _not_taken(response: HTTPResponse, url: Url) -> AddError:
    why = {401: "it needs credentials", 403: "the user may not", 404: "there is no such container"}
    told = why.get(response.status, "")
    return AddError(f"{url.shown} answers with status {response.status}{told and ': '}{told}")
