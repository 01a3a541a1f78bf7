# SPDX-License-Identifier: Apache-2.0
"""A query -> the images that the upstream lists, without those that it should not list."""

from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from urllib.parse import quote

from imageapi.backends.http.list_pages import PageReader, SeenPages, Source, answer_of
from imageapi.backends.http.list_parameters import Dialect, conditions, scope
from imageapi.backends.http.listing import entries_of
from imageapi.backends.http_client.client import Upstream, read_small
from imageapi.backends.http_client.status import REFUSED, refuse_status
from imageapi.backends.http_client.urls import Url
from imageapi.backends.listing import ListQuery
from imageapi.caller import Caller
from imageapi.image import Image

# In bytes.  An entry of an id takes some 80.
_LARGEST_SHARED = 4 * 1024 * 1024

#: An image of the upstream's list -> the image to yield; None to leave it out.
_Accept = Callable[[Image], Image | None]


class UpstreamLists:
    """The lists of an upstream."""

    def __init__(
        self, upstream: Upstream, endpoint: Url, dialect: Dialect, *, decides_visibility: bool
    ) -> None:
        """:param decides_visibility: whether the upstream knows who the caller is."""
        self._upstream = upstream
        self._images = str(endpoint).rstrip("/")
        self._dialect = dialect
        self._decides = decides_visibility
        self._seen = SeenPages()

    def images(
        self, query: ListQuery, caller: Caller, headers: Mapping[str, str]
    ) -> Generator[Image, None, None]:
        """Yield the images of a query, in its order.

        :param headers: of each request; they have the caller's token if it is sent.
        :raises BackendUnavailable: the upstream is unreachable for now.
        :raises BadReply: its response is invalid.
        """
        accept = self._accept(query, caller, headers)
        if accept is None:
            return
        whose = scope(query, self._dialect, is_service=not self._decides, is_admin=caller.is_admin)
        source = Source(
            upstream=self._upstream,
            url=Url.parse(f"{self._images}{self._dialect.path}"),
            dialect=self._dialect,
            parameters={**conditions(query, self._dialect), **whose},
            headers=headers,
            hides_all_when_refusing=self._decides,
            seen=self._seen,
        )
        reader = PageReader(source, query.sort_key, descending=query.descending, limit=query.limit)
        for entry in entries_of(reader, query):
            image = None if entry.image is None else accept(entry.image)
            if image is not None:
                yield image

    def _accept(
        self, query: ListQuery, caller: Caller, headers: Mapping[str, str]
    ) -> _Accept | None:
        """Return what decides about each image; None if the list is empty anyway."""
        project = query.shared_with
        if project is None:
            return _matching(self._checked_here(query, caller))
        if self._dialect is Dialect.V1:
            ids = self._shared_ids(project, headers)
            # The records of a list have no members.
            matches = query.matching()
            members = frozenset({project})

            def of_shared(image: Image) -> Image | None:
                image = replace(image, members=members) if image.id in ids else image
                return image if matches(image) else None

            return of_shared
        if not self._decides or caller.is_admin or caller.project_id != project:
            # A Glance does not list what is shared with others than its caller.
            return None
        matches_rest = _matching(self._checked_here(replace(query, shared_with=None), caller))
        return lambda image: None if image.owner == project else matches_rest(image)

    def _checked_here(self, query: ListQuery, caller: Caller) -> ListQuery:
        """Return the query without what only the upstream can know."""
        is_v2 = self._dialect is Dialect.V2
        # Glance's v2 shows an admin the images of all projects.
        sees_more = is_v2 and caller.is_admin
        return replace(
            query,
            all_projects=query.all_projects or (self._decides and not sees_more),
            # Glance's v2 cuts the times that it shows to whole seconds.
            changed_after=None if is_v2 else query.changed_after,
        )

    def _shared_ids(self, project: str, headers: Mapping[str, str]) -> frozenset[str]:
        root = self._images.removesuffix("/images")
        url = Url.parse(f"{root}/shared-images/{quote(project, safe='')}")
        response = self._upstream.request("GET", url, headers)
        data = read_small(response, url, _LARGEST_SHARED)
        if response.status in REFUSED and self._decides:
            return frozenset()
        if response.status != 200:
            refuse_status(response, url)
        shared = answer_of(data, url, "shared_images")["shared_images"]
        ids = (one.get("image_id") for one in shared if isinstance(one, dict))
        return frozenset(one for one in ids if isinstance(one, str))


def _matching(query: ListQuery) -> _Accept:
    matches = query.matching()
    return lambda image: image if matches(image) else None
