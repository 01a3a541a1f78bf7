# SPDX-License-Identifier: Apache-2.0
"""Whether and when a request is retried."""

import logging
import time
from collections.abc import Collection, Iterator

from urllib3.response import HTTPResponse

from imageapi.backends.http_client.client import NotReached
from imageapi.backends.http_client.status import close, retry_after_of
from imageapi.backends.http_client.urls import Url

LOG = logging.getLogger(__name__)

# Seconds.  For a longer pause the client gets an error, so that no thread is blocked.
_LONGEST_PAUSE = 10.0
_FIRST_PAUSE = 0.5


class Retry:
    """Decides whether, and when, one request is retried."""

    def __init__(
        self, connects: Iterator[float], statuses: Iterator[float], codes: Collection[int]
    ) -> None:
        """Prepare for the first response.

        :param connects: the pauses, in seconds, before retries without a response.
        :param statuses: the pauses before retries after one of the codes.
        :param codes: the statuses after which a request is retried.
        """
        self._connects = connects
        self._statuses = statuses
        self._codes = codes

    def after_no_answer(self, error: NotReached) -> bool:
        """Wait before a retry; return False if no retry is left."""
        pause = next(self._connects, None)
        if pause is None:
            return False
        LOG.info("%s; retrying in %g s", error, pause)
        time.sleep(pause)
        return True

    def after_answer(self, response: HTTPResponse, url: Url) -> bool:
        """If the status allows a retry soon, close the response, wait and return True."""
        pause = next(self._statuses, None) if response.status in self._codes else None
        if pause is None:
            return False
        pause = max(pause, retry_after_of(response) or 0)
        if pause > _LONGEST_PAUSE:
            return False
        close(response)
        LOG.info("%s answers with status %d; retrying in %g s", url.shown, response.status, pause)
        time.sleep(pause)
        return True


def pauses(retries: int, delay: float | None) -> Iterator[float]:
    """Return the pauses before so many retries, in seconds.

    :param delay: the pause before each one; None for pauses that double.
    """
    for number in range(retries):
        doubled = _FIRST_PAUSE * 2 ** min(number, 10)
        yield min(doubled if delay is None else delay, _LONGEST_PAUSE)
