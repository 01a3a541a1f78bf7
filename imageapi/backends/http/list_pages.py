# SPDX-License-Identifier: Apache-2.0
"""The pages of an upstream's list: one request for each, and its answer read."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote

from imageapi import document
from imageapi.backends.http.list_parameters import Dialect
from imageapi.backends.http_client.client import Upstream, read_small
from imageapi.backends.http_client.status import REFUSED, refuse_status
from imageapi.backends.http_client.urls import Url
from imageapi.errors import BackendUnavailable, BadReply, MalformedImage
from imageapi.image import Image, is_image_id

LOG = logging.getLogger(__name__)

#: The number of images in the pages of a long walk.
LARGEST_PAGE = 500

# In bytes, and as commas and opening brackets, which bound the number of JSON values.
_LARGEST_ANSWER = 16 * 1024 * 1024
_MOST_VALUES = 1_000_000

# The upstream has no longer the image after which a page should begin.
_NO_MARKER = (400, 404)


class Entry(NamedTuple):
    """One image of an upstream's list.

    :ivar id: None if the record has no valid id.
    :ivar value: of the query's sort key, as in the JSON document.
    :ivar image: None if the record is malformed.
    """

    id: str | None
    value: Any
    image: Image | None


@dataclass(frozen=True)
class Page:
    """A part of an upstream's list.

    :ivar marker: the id after which it begins; None for the beginning of the list.
    :ivar limit: how many images were requested.
    :ivar is_last: whether the list ends with it.
    """

    entries: tuple[Entry, ...]
    marker: str | None
    limit: int
    is_last: bool

    @property
    def last_id(self) -> str | None:
        """The id of the last entry that has one."""
        return next((entry.id for entry in reversed(self.entries) if entry.id), None)


@dataclass
class SeenPages:
    """What the pages of an upstream so far have shown.

    :ivar largest: the number of images in the largest one.  Two threads may replace it at
        once: a number that is too small costs one request.
    """

    largest: int = 0


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a list is, and how it is asked for.

    :ivar url: without a query.
    :ivar parameters: those of every page, percent-encoded.
    :ivar headers: of each request.
    :ivar hides_all_when_refusing: whether a caller that the upstream refuses (401, 403)
        gets an empty list.
    :ivar seen: of all lists of this upstream.
    """

    upstream: Upstream
    url: Url
    dialect: Dialect
    parameters: Mapping[str, str]
    headers: Mapping[str, str]
    hides_all_when_refusing: bool
    seen: SeenPages


class PageReader:
    """Requests the pages of one list.

    :ivar limit: how many images the next page has.  It grows, because a long walk needs
        fewer requests with larger pages.
    """

    def __init__(self, source: Source, sort_key: str, *, descending: bool, limit: int) -> None:
        self._source = source
        self._sort_key = sort_key
        self._descending = descending
        self.limit = max(limit, 1)
        # How many images like those of the last answer fit into a quarter of the largest.
        self._fitting = LARGEST_PAGE
        #: The parameters of every page.
        self.asked = frozenset(source.parameters)
        #: The URL for messages.
        self.shown = source.url.shown

    @property
    def largest(self) -> int:
        """How many images a page of a long walk has: fewer if the last records were large."""
        return max(1, min(LARGEST_PAGE, self._fitting))

    def page(self, key: str, marker: str | None) -> Page:
        """Request a page.

        :param key: the sort key; the direction is that of the query.
        :param marker: the id after which it begins; None for the beginning of the list.
        :raises BackendUnavailable: the upstream is unreachable for now, or no longer has
            the marker's image.
        :raises BadReply: the response is invalid.
        """
        limit = self.limit
        entries, has_next = self._request(key, self._descending, marker, limit)
        page = Page(entries, marker, limit, not has_next)
        if has_next is None:
            page = Page(entries, marker, limit, self._is_last(key, page))
        self.limit = max(1, min(max(limit, min(2 * limit, LARGEST_PAGE)), self._fitting))
        if page.last_id is None and not page.is_last:
            raise BadReply(f"{self.shown} returned a list without ids")
        return page

    def last(self, key: str) -> Page:
        """Request the last image of the whole list."""
        entries, _ = self._request(key, not self._descending, None, 1)
        return Page(entries, None, 1, False)

    def _is_last(self, key: str, page: Page) -> bool:
        """Whether a page without a link to the next one is the last one.

        A page may be short because the upstream limits all pages, and not if a larger
        one was seen.
        """
        count = len(page.entries)
        seen = self._source.seen
        is_limited = count >= seen.largest
        seen.largest = max(count, seen.largest)
        if count >= page.limit or count == 0 or not is_limited:
            return count < page.limit
        having = (
            entry.id for entry in reversed(page.entries) if entry.id and entry.value is not None
        )
        marker = next(having, page.last_id)
        if marker is None:
            return True  # without a marker, nothing more can be read
        more, _ = self._request(key, self._descending, marker, page.limit)
        return {entry.id for entry in more} <= {entry.id for entry in page.entries}

    def _request(
        self, key: str, descending: bool, marker: str | None, limit: int
    ) -> tuple[tuple[Entry, ...], bool | None]:
        """Return the entries, and whether more follow; None if the answer does not tell."""
        source = self._source
        url = self._url(key, descending, marker, limit)
        response = source.upstream.request("GET", url, source.headers)
        data = read_small(response, url, _LARGEST_ANSWER)
        if response.status in REFUSED and source.hides_all_when_refusing:
            if marker is None:
                return (), False
            # An empty list would say that no images follow.
            raise BackendUnavailable(f"{url.shown} refuses this caller the rest of a list")
        if response.status in _NO_MARKER and marker is not None:
            raise BackendUnavailable(f"{url.shown} has no longer the image where a page begins")
        if response.status != 200:
            refuse_status(response, url)
        answer = answer_of(data, url, "images")
        entries = self._entries(answer["images"])
        self._fitting = max(len(entries), 1) * (_LARGEST_ANSWER // 4) // len(data)
        if marker is not None and any(entry.id == marker for entry in entries):
            raise BadReply(f"{url.shown} ignores the parameter marker")
        has_next = "next" in answer if source.dialect is Dialect.V2 else None
        return entries, has_next and bool(entries)

    def _url(self, key: str, descending: bool, marker: str | None, limit: int) -> Url:
        parameters = {
            **self._source.parameters,
            "sort_key": key,
            "sort_dir": "desc" if descending else "asc",
            "limit": str(limit),
            **({} if marker is None else {"marker": quote(marker, safe="")}),
        }
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        return Url.parse(f"{self._source.url}?{query}")

    def _entries(self, records: list[Any]) -> tuple[Entry, ...]:
        entries = []
        wrong = []
        for record in records:
            found = _found(record, self.shown)
            if isinstance(found, MalformedImage):
                wrong.append(found)
            fields = record if isinstance(record, dict) else {}
            image_id = fields.get("id")
            entries.append(
                Entry(
                    image_id if isinstance(image_id, str) and is_image_id(image_id) else None,
                    fields.get(self._sort_key),
                    found if isinstance(found, Image) else None,
                )
            )
        if wrong:
            LOG.error("a list: malformed records left out: %d, the first: %s", len(wrong), wrong[0])
        return tuple(entries)


def _found(record: Any, where: str) -> Image | MalformedImage:
    image_id = record.get("id") if isinstance(record, dict) else None
    if not isinstance(image_id, str) or not is_image_id(image_id):
        return MalformedImage(f"{where}: a record has no valid id")
    return document.found(json.dumps(record).encode(), image_id, f"{where}: image {image_id!r}")


def answer_of(data: bytes, url: Url, name: str) -> dict[str, Any]:
    """Return the JSON object of a response.

    :param name: of the list that it contains.
    :raises BadReply: it is malformed.
    """
    if data.count(b",") + data.count(b"[") + data.count(b"{") <= _MOST_VALUES:
        try:
            answer = json.loads(data)
        except (ValueError, RecursionError):
            answer = None
        if isinstance(answer, dict) and isinstance(answer.get(name), list):
            return answer
    raise BadReply(f"{url.shown} returned no valid list")
