# SPDX-License-Identifier: Apache-2.0
"""A registry's list -> the images of it that the caller may know of, one page at a time."""

import itertools
import logging
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace

from webob import Request, exc

from imageapi.authorization import Authorization, PolicyUnavailable
from imageapi.backends.base import RegistryBackend
from imageapi.backends.listing import ListQuery
from imageapi.caller import Caller
from imageapi.config.plugins import Loaded
from imageapi.errors import BackendError, bug_in
from imageapi.image import Image, is_image_id
from imageapi.listing.parameters import Limits, parse_list_parameters
from imageapi.policy.base import GET_IMAGE, Target
from imageapi.policy.property_protections import PropertyReader

LOG = logging.getLogger(__name__)


class Pages:
    """Makes the pages of lists; thread-safe."""

    def __init__(
        self, authorization: Authorization, registry: Loaded[RegistryBackend], limits: Limits
    ) -> None:
        self._auth = authorization
        self._registry = registry
        self._limits = limits

    def page(self, request: Request, caller: Caller) -> list[Image]:
        """Return the images of the page that a request is for (docs/wire.md, Lists).

        :raises exc.HTTPBadRequest: a parameter is invalid.
        :raises BackendError: the registry cannot list images, or the policy cannot decide.
        """
        query_string = request.environ.get("QUERY_STRING", "")
        parameters = parse_list_parameters(query_string, caller, self._limits)
        query = parameters.query
        if parameters.marker is not None:
            query = replace(query, after=self._marked(parameters.marker, caller))
        reader = self._auth.reader(caller)
        if not all(reader.may_read(name) for name in query.properties):
            return []  # as for a property that no image has
        with closing(self._visible(query, caller, reader)) as images:
            return list(itertools.islice(images, query.limit))

    def shared_with(self, project_id: str, caller: Caller) -> list[Image]:
        """Return the images that are shared with a project, for itself and for admins."""
        if not caller.is_admin and caller.project_id != project_id:
            return []
        query = ListQuery(
            shared_with=project_id,
            project_id=project_id,
            descending=False,
            limit=self._limits.largest,
        )
        return list(self._visible(query, caller, self._auth.reader(caller)))

    def _marked(self, marker: str, caller: Caller) -> Image:
        """Return the image of a marker, which must be one that the caller may HEAD."""
        try:
            if is_image_id(marker):
                image = self._auth.find(marker, caller, (), newest=True)
                shown = self._auth.shown(image, caller)
                if self._auth.allows(GET_IMAGE, caller, Target(shown)):
                    return image
        except exc.HTTPNotFound:
            pass
        raise exc.HTTPBadRequest(f"marker must be the id of an image, not {marker!r:.100}.")

    def _visible(
        self, query: ListQuery, caller: Caller, reader: PropertyReader
    ) -> Generator[Image, None, None]:
        """Yield the images that the caller may see, as this caller is shown them."""
        registry = self._registry
        with self._auth.blaming_the_registry("a list"):
            try:
                with closing(registry.backend.list(query, caller)) as images:
                    for image in images:
                        if not isinstance(image, Image):
                            kind = type(image).__name__
                            raise BackendError(f"list() must yield an imageapi.Image, not {kind}")
                        shown = self._shown(image, caller, reader)
                        if shown is not None:
                            yield shown
            except PolicyUnavailable:
                raise
            except BackendError as error:
                LOG.error("a list: %s: %s", registry, error, exc_info=bug_in(error))
                raise

    def _shown(self, image: Image, caller: Caller, reader: PropertyReader) -> Image | None:
        if not self._auth.may_know(image, caller):
            return None
        shown = reader.shown(image)
        return shown if self._auth.allows(GET_IMAGE, caller, Target(shown)) else None
