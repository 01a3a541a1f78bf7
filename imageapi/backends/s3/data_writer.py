# SPDX-License-Identifier: Apache-2.0
"""Writes data into S3: by one request, or by a multipart upload if the data is large.

The data of an image gets a unique key, ``<id>/<random>``, which its record contains.  So two
uploads for the same image overwrite and remove only their own data.  Each request is signed
with the hash of its bytes, which S3 compares with the bytes that it has received.
"""

import html
import logging
import re
import uuid
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain
from urllib.parse import quote

from imageapi.backends.http_client.client import read_small
from imageapi.backends.http_client.status import ABSENT, close
from imageapi.backends.s3.client import S3Answer, S3Client, refuse
from imageapi.backends.s3.listing import Entry, objects_in, uploads_in
from imageapi.backends.s3.location import S3Location
from imageapi.backends.s3.store import S3Store
from imageapi.backends.writing import DataWriter, HashingReader, Leftover, NewData, WriteError
from imageapi.errors import BackendError, ImageAPIError, LocationRefused
from imageapi.image import Image, Location

LOG = logging.getLogger(__name__)

_CHUNK_SIZE = 64 * 1024
_MOST_PARTS = 10_000
_LARGEST_ANSWER = 64 * 1024

# The end of the key of an image's data.
_DATA = re.compile(r"/[0-9a-f]{32}")
_UPLOAD = re.compile(rb"<UploadId>([!-;=?-~]{1,2000})</UploadId>")


class S3DataWriter(DataWriter):
    """Puts and deletes the objects of the store's bucket."""

    def __init__(self, store: S3Store) -> None:
        self._store = store
        self._client = store.client

    def put(self, image: Image, data: HashingReader, *, is_replacement: bool) -> NewData:
        size = data.expected_size()
        most = _MOST_PARTS * self._store.segment_size
        if size is not None and size > most:
            raise WriteError(f"the data has more than {most} bytes: increase segment_size")
        try:
            target = S3Location.of(self._store.bucket, f"{image.id}/{uuid.uuid4().hex}")
        except LocationRefused:
            raise WriteError("the id cannot be part of an S3 key") from None
        new = _NewObject(self._client, target)
        try:
            parts = _parts_of(data, self._store.segment_size)
            first, is_whole = next(parts)
            if is_whole:
                new.put(first)
            else:
                new.put_parts(chain([first], (part for part, _ in parts)))
        except BaseException:
            new.close()
            raise
        return new

    def owns(self, image_id: str, location: Location) -> bool:
        try:
            found = S3Location.parse(location.url)
        except LocationRefused:
            return False
        return (
            found.bucket == self._store.bucket
            and found.key.startswith(image_id)
            and bool(_DATA.fullmatch(found.key[len(image_id) :]))
        )

    def remove(self, location: Location) -> None:
        remove_object(self._client, S3Location.parse(location.url))

    def leftovers(self, used: Iterable[Location]) -> Iterator[Leftover]:
        bucket = self._store.bucket
        keys = set(_keys_in(bucket, used))
        for entry in chain(objects_in(self._client, bucket), uploads_in(self._client, bucket)):
            if entry.key in keys or not _DATA.fullmatch(entry.key[-33:]):
                continue
            try:
                yield self._leftover(entry, S3Location.of(bucket, entry.key))
            except LocationRefused:
                continue  # no such key is ours

    def _leftover(self, entry: Entry, found: S3Location) -> Leftover:
        remove = partial(remove_object, self._client, found)
        name = f"{found.bucket}/{found.key}"
        if entry.upload:
            remove = partial(_abort, self._client, found, entry.upload)
            name += " (an upload that was not completed)"
        return Leftover(name, entry.seconds, remove, entry.key[:-33], Location(found.url))


def _parts_of(data: HashingReader, size: int) -> Iterator[tuple[bytes, bool]]:
    """Yield the parts of the data, at least one, and whether each is the last one."""
    ahead = data.read(_CHUNK_SIZE)
    while True:
        chunks, left = [], size
        while ahead and left:
            chunks.append(ahead[:left])
            left -= len(chunks[-1])
            ahead = ahead[len(chunks[-1]) :] or data.read(_CHUNK_SIZE)
        yield b"".join(chunks), not ahead
        if not ahead:
            return


def _keys_in(bucket: str, used: Iterable[Location]) -> Iterator[str]:
    for location in used:
        try:
            found = S3Location.parse(location.url)
        except LocationRefused:
            continue
        if found.bucket == bucket:
            yield found.key


class _NewObject(NewData):
    """The object of an upload."""

    def __init__(self, client: S3Client, target: S3Location) -> None:
        self.location = Location(target.url)
        self._client = client
        self._target = target
        self._upload = ""
        self._may_exist = False

    def put(self, data: bytes) -> None:
        """Put the whole data.

        :raises WriteError: S3 refuses it.
        """
        # Note it first: an interruption may come after S3 has stored the object.
        self._may_exist = True
        self._request("PUT", data)

    def put_parts(self, parts: Iterable[bytes]) -> None:
        """Put the data in parts.

        :raises WriteError: S3 refuses it.
        """
        answer, body = self._request("POST", b"", "uploads=")
        match = _UPLOAD.search(body)
        if match is None:
            raise WriteError(f"{answer.url.shown} returned no id of the upload")
        self._upload = html.unescape(match[1].decode())
        query = f"uploadId={quote(self._upload, safe='')}"
        done = []
        for number, part in enumerate(parts, 1):
            answer, _ = self._request("PUT", part, f"partNumber={number}&{query}")
            etag = html.escape(answer.response.headers.get("ETag", ""), quote=False)
            done.append(f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")
        manifest = f"<CompleteMultipartUpload>{''.join(done)}</CompleteMultipartUpload>"
        self._may_exist = True
        answer, body = self._request("POST", manifest.encode(), query)
        # The status was sent before the work began.
        if b"<CompleteMultipartUploadResult" not in body:
            raise WriteError(f"{answer.url.shown}: S3 has not completed the upload")
        self._upload = ""

    def close(self) -> None:
        """Unless it is kept, remove the object and its parts, and log what remains."""
        if self.is_kept:
            return
        name = f"{self._target.bucket}/{self._target.key}"
        try:
            if self._upload:
                _abort(self._client, self._target, self._upload)
                self._upload = ""
            if self._may_exist:
                remove_object(self._client, self._target)
                self._may_exist = False
        except ImageAPIError as error:
            LOG.error("clean-up stopped: %s", error)
        finally:
            if self._upload:
                LOG.error("the upload %s could not be aborted: abort it with an S3 client", name)
            if self._may_exist:
                LOG.error("the object %s could not be removed: remove it with an S3 client", name)

    def _request(
        self, method: str, data: bytes, query: str | None = None
    ) -> tuple[S3Answer, bytes]:
        bucket, _, path = self._target
        answer = self._client.request(method, bucket, path, body=data, query=query)
        if answer.response.status != 200:
            close(answer.response)
            raise _not_accepted(answer)
        return answer, read_small(answer.response, answer.url, _LARGEST_ANSWER)


def remove_object(client: S3Client, found: S3Location) -> None:
    """Remove an object, if it exists.

    :raises WriteError: S3 refuses to.
    """
    _delete(client, found, None)


def _abort(client: S3Client, found: S3Location, upload: str) -> None:
    """Abort an upload, if it was not completed.

    :raises WriteError: S3 refuses to.
    """
    _delete(client, found, f"uploadId={quote(upload, safe='')}")


def _delete(client: S3Client, found: S3Location, query: str | None) -> None:
    answer = client.request("DELETE", found.bucket, found.path, query=query)
    close(answer.response)
    if answer.response.status not in (200, 204, *ABSENT):
        raise _not_accepted(answer)


def _not_accepted(answer: S3Answer) -> WriteError:
    """Return the error for a response to a change that S3 has refused."""
    try:
        refuse(answer)
    except BackendError as error:
        return WriteError(str(error))
