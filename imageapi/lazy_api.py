# SPDX-License-Identifier: Apache-2.0
"""The API of a ready application, created at the first request, after any fork."""

import logging
import threading
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIEnvironment

from webob import Request, exc

from imageapi.api import ImageAPI, Steps, answer_over_wsgi
from imageapi.config.files import files_from_environment, load_config
from imageapi.errors import ConfigurationError
from imageapi.events.observation import Observers
from imageapi.protocol import error_responses

LOG = logging.getLogger(__name__)


class LazyAPI:
    """Creates an `ImageAPI` from the files of `files_from_environment`, at the first request.

    While the configuration is invalid, each request reads it again, and the response is 500.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._api: ImageAPI | None = None

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer as `ImageAPI` does, as a WSGI application."""
        return answer_over_wsgi(self.route(Request(environ)), start_response)

    def route(self, request: Request) -> Steps:
        """Answer as `ImageAPI.route` does."""
        try:
            api = self._api or self._make()
        except ConfigurationError as error:
            # Clients must not see the problems.
            for problem in error.problems:
                LOG.error("configuration: %s", problem)
            refusal = exc.HTTPInternalServerError(
                "The server's configuration is invalid. The server's log says why."
            )
            return error_responses.render(request, refusal)
        return (yield from api.route(request))

    def _make(self) -> ImageAPI:
        with self._lock:
            if self._api is None:
                self._api = ImageAPI(load_config(files_from_environment()))
            return self._api

    @property
    def observers(self) -> Observers:
        """The events backends; none before the first request."""
        return Observers(()) if self._api is None else self._api.observers

    def close(self) -> None:
        """Close the backends, if they were created."""
        if self._api is not None:
            self._api.close()
