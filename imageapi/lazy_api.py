# SPDX-License-Identifier: Apache-2.0
"""The core of a ready application, created at the first request."""

import logging
import threading

from webob import Request, Response, exc

from imageapi.api import ImageAPI
from imageapi.config.files import files_from_environment, load_config
from imageapi.errors import ConfigurationError
from imageapi.protocol import error_responses

LOG = logging.getLogger(__name__)


class LazyAPI:
    """Creates an `ImageAPI` from the files of `files_from_environment`, at the first request."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._api: ImageAPI | None = None

    def get(self) -> ImageAPI:
        """Return the `ImageAPI`; create it if there is none yet.

        :raises ConfigurationError: the configuration is invalid; the next call
            reads it again.
        """
        return self._api or self._make()

    def _make(self) -> ImageAPI:
        with self._lock:
            if self._api is None:
                self._api = ImageAPI(load_config(files_from_environment()))
            return self._api

    def close(self) -> None:
        """Close the backends, if they were created."""
        if self._api is not None:
            self._api.close()


def not_configured(request: Request, error: ConfigurationError) -> Response:
    """Answer while the configuration is invalid; log its problems, which clients must not see."""
    for problem in error.problems:
        LOG.error("configuration: %s", problem)
    refusal = exc.HTTPInternalServerError(
        "The server's configuration is invalid. The server's log says why."
    )
    return error_responses.render(request, refusal)
