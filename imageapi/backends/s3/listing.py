# SPDX-License-Identifier: Apache-2.0
"""The objects of a bucket, and the uploads that were begun in it, page by page."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import quote, unquote
from xml.etree import ElementTree  # nosec B405 - see _parsed

from imageapi.backends.http_client.client import read_small
from imageapi.backends.s3.client import S3Client, refuse
from imageapi.errors import BadReply

# In bytes.  A page has at most 1,000 entries, whose keys have at most 1,024 bytes, encoded.
_LARGEST_PAGE = 8 * 2**20


class Entry(NamedTuple):
    """An object, or an upload that was begun.

    :ivar seconds: how long ago it was written or begun.
    :ivar upload: the id of the upload; empty for an object.
    """

    key: str
    seconds: float
    upload: str = ""


def objects_in(client: S3Client, bucket: str) -> Iterator[Entry]:
    """Yield the objects of a bucket.

    :raises BackendError: the bucket cannot be listed.
    """
    marker = ""
    while True:
        query = "list-type=2&encoding-type=url"
        if marker:
            query += f"&continuation-token={quote(marker, safe='')}"
        page = _page(client, bucket, query)
        for found in page.iterfind("{*}Contents"):
            yield Entry(_key(found), _age(found, "LastModified"))
        marker = _text(page, "NextContinuationToken")
        if not (marker and _goes_on(page)):
            return


def uploads_in(client: S3Client, bucket: str) -> Iterator[Entry]:
    """Yield the multipart uploads of a bucket that are neither completed nor aborted.

    :raises BackendError: the uploads cannot be listed.
    """
    markers = ""
    while True:
        page = _page(client, bucket, f"encoding-type=url{markers}&uploads=")
        for found in page.iterfind("{*}Upload"):
            yield Entry(_key(found), _age(found, "Initiated"), _text(found, "UploadId"))
        if not _goes_on(page):
            return
        # The key is encoded already.
        key = quote(unquote(_text(page, "NextKeyMarker")), safe="")
        upload = quote(_text(page, "NextUploadIdMarker"), safe="")
        markers = f"&key-marker={key}&upload-id-marker={upload}"


def _page(client: S3Client, bucket: str, query: str) -> ElementTree.Element:
    answer = client.request("GET", bucket, query=query)
    if answer.response.status != 200:
        refuse(answer)
    page = _parsed(read_small(answer.response, answer.url, _LARGEST_PAGE))
    if page is None:
        raise BadReply(f"{answer.url.shown} returned an invalid listing")
    return page


def _parsed(data: bytes) -> ElementTree.Element | None:
    if b"<!" in data:
        return None
    try:
        # Without a document type, which would begin with <!, there are no entities.
        page = ElementTree.fromstring(data)  # noqa: S314 - no entities: see above  # nosec B314
        # Refuse here what its readers would not find.
        for found in (*page.iterfind("{*}Contents"), *page.iterfind("{*}Upload")):
            _key(found)
            _age(found, "Initiated" if found.tag.endswith("Upload") else "LastModified")
    except (ElementTree.ParseError, ValueError):
        return None
    return page


def _text(parent: ElementTree.Element, name: str) -> str:
    return parent.findtext(f"{{*}}{name}") or ""


def _key(found: ElementTree.Element) -> str:
    key = unquote(_text(found, "Key"))
    if not key:
        raise ValueError("an entry without a key")
    return key


def _age(found: ElementTree.Element, name: str) -> float:
    written = datetime.fromisoformat(_text(found, name))
    return (datetime.now(UTC) - written.replace(tzinfo=UTC)).total_seconds()


def _goes_on(page: ElementTree.Element) -> bool:
    return _text(page, "IsTruncated") == "true"
