# SPDX-License-Identifier: Apache-2.0
"""Collects what happens to a request, and tells the events backends when it has ended."""

import logging
import re
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import ParamSpec

from webob import Request

from imageapi.caller import ANONYMOUS, Caller
from imageapi.events.base import EventsBackend, Load, Outcome, RequestEnded
from imageapi.image import Image
from imageapi.protocol.routes import quoted_path

LOG = logging.getLogger(__name__)

P = ParamSpec("P")

#: After a failure of an events backend is logged, further ones are not for this time.
QUIET_SECONDS = 60.0

# What a client may call its request: one word that is safe in a log.
_REQUEST_ID = re.compile(r"[0-9A-Za-z_.-]{1,80}")


class Observers:
    """The events backends of an API."""

    def __init__(self, backends: Sequence[EventsBackend]) -> None:
        self._backends = backends
        # Until when, by the monotonic clock, failures are not logged.
        self._quiet_until = 0.0

    def begin(self, request: Request, image_id: str | None) -> "Observation":
        """Begin to observe a request."""
        for backend in self._backends:
            self._tell(backend.request_began)
        return Observation(self, request, image_id)

    def loaded(self, load: Load) -> None:
        """Tell how busy this process is."""
        for backend in self._backends:
            self._tell(backend.loaded, load)

    def end(self, describe: Callable[[], RequestEnded]) -> None:
        """Tell that a request has ended.

        :param describe: is called only if there is an events backend.
        """
        if self._backends:
            event = describe()
            for backend in self._backends:
                self._tell(backend.request_ended, event)

    def _tell(self, method: Callable[P, None], *about: P.args, **named: P.kwargs) -> None:
        """Call a method of an events backend; log what it raises, at most once a minute."""
        try:
            method(*about, **named)
        except Exception:
            now = time.monotonic()
            if now >= self._quiet_until:
                self._quiet_until = now + QUIET_SECONDS
                LOG.exception(
                    "an events backend failed; no response is affected. Further failures are not"
                    " logged for a minute"
                )


class Observation:
    """What is known of one request.

    :ivar caller: set as soon as it is known.
    :ivar image: the image, as soon as the caller may know of it.
    :ivar store: the name of the store whose data is sent.
    :ivar is_wrong: whether data with the wrong hash was found.
    :ivar cache: how the cache was used; see `RequestEnded.cache`.
    """

    def __init__(self, observers: Observers, request: Request, image_id: str | None) -> None:
        self._observers = observers
        self._environ = request.environ
        self._image_id = image_id
        self._began = time.monotonic()
        self._is_ended = False
        self.caller: Caller = ANONYMOUS
        self.image: Image | None = None
        self.store: str | None = None
        self.is_wrong = False
        self.cache: str | None = None

    def end_without_response(self) -> None:
        """Tell that the client left before there was a response, or that there is a bug."""
        self.end(None, Outcome.LEFT)

    def end(
        self,
        status: int | None,
        outcome: Outcome,
        *,
        sends_data: bool = False,
        sent: int = 0,
        resumed: int = 0,
        is_verified: bool = False,
    ) -> None:
        """Tell the events backends, at the first call; the parameters are `RequestEnded`'s."""
        if self._is_ended:
            return
        self._is_ended = True
        environ = self._environ
        self._observers.end(
            lambda: RequestEnded(
                method=environ["REQUEST_METHOD"],
                path=quoted_path(environ),
                query=environ.get("QUERY_STRING", ""),
                range=environ.get("HTTP_RANGE"),
                image_id=self._image_id,
                image=self.image,
                caller=self.caller,
                status=status,
                outcome=outcome,
                sends_data=sends_data,
                sent=sent,
                resumed=resumed,
                is_verified=is_verified,
                is_wrong=self.is_wrong,
                store=self.store,
                cache=self.cache,
                seconds=time.monotonic() - self._began,
                remote_address=environ.get("REMOTE_ADDR"),
                request_id=request_id_of(environ),
            )
        )


def request_id_of(environ: Mapping[str, object]) -> str:
    """Return oslo.middleware's request id, or the client's, or a new one."""
    for key in ("openstack.request_id", "HTTP_X_OPENSTACK_REQUEST_ID"):
        given = environ.get(key)
        if isinstance(given, str) and _REQUEST_ID.fullmatch(given):
            return given
    return f"req-{uuid.uuid4()}"
