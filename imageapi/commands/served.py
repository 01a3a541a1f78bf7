# SPDX-License-Identifier: Apache-2.0
"""What ``serve`` serves: images, ``/healthcheck``, and ``/metrics`` at an address of its own."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from oslo_config import cfg

from imageapi.asgi import Application
from imageapi.asgi.scope import Receive, Scope, Send
from imageapi.caller import ENVIRON_KEY, Caller
from imageapi.commands.logs import REQUEST_ID
from imageapi.commands.serve_settings import ServeSettings
from imageapi.config.plugins import Backends, Loaded
from imageapi.errors import BackendError, ConfigurationError, only_backend_errors
from imageapi.events.base import EventsBackend
from imageapi.events.observation import request_id_of

LOG = logging.getLogger(__name__)

_HEALTHCHECK = "/healthcheck"
_METRICS = "/metrics"
_REQUEST_ID = b"x-openstack-request-id"

Metrics = Callable[[str], tuple[str, bytes]]


class Served:
    """An ASGI application.

    ``GET /healthcheck`` answers 200 while this process answers.  With ``?detailed`` it asks
    each backend, and answers 503 if one of them does not work.

    :ivar caller: who sends every request, whatever its headers say; None if the requests
        themselves say it.
    """

    caller: Caller | None = None

    def __init__(
        self, conf: cfg.ConfigOpts, settings: ServeSettings, events: Sequence[EventsBackend]
    ) -> None:
        """Load the backends that the configuration names.

        :raises ConfigurationError: the configuration is invalid.
        """
        self._images = Application(conf, threads=settings.threads, events=events)
        self._metrics_port: int | None = None
        self._metrics: Metrics | None = None
        if settings.metrics_bind:
            self._metrics_port = int(settings.metrics_bind.rpartition(":")[2])
            try:
                settings.check_metrics(self.backends)
            except ConfigurationError:
                self.close()
                raise
            # Not above: it belongs to an extra.
            from imageapi.events.prometheus import exposition

            self._metrics = exposition

    @property
    def backends(self) -> Backends:
        """The backends of the configuration."""
        return self._images.api.backends

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._images(scope, receive, send)
            return
        scope = _named(scope)
        if self._is_for_metrics(scope):
            await self._answer(scope, send, _METRICS, self._read_metrics)
        elif scope["path"] == _HEALTHCHECK:
            await self._answer(scope, send, _HEALTHCHECK, self._read_health)
        else:
            if self.caller is not None:
                scope = {**scope, ENVIRON_KEY: self.caller}
            await self._images(scope, receive, send)

    def close(self) -> None:
        """Close the backends."""
        self._images.close()

    def _is_for_metrics(self, scope: Scope) -> bool:
        _, port = scope.get("server") or ("", None)
        return self._metrics_port is not None and port == self._metrics_port

    async def _answer(
        self, scope: Scope, send: Send, path: str, read: Callable[[Scope], tuple[int, str, bytes]]
    ) -> None:
        if scope["path"] != path:
            status, kind, body = 404, "text/plain", b"Not found.\n"
        elif scope["method"] not in ("GET", "HEAD"):
            status, kind, body = 405, "text/plain", b"Only GET and HEAD are possible.\n"
        else:
            status, kind, body = await self._images.run(lambda: read(scope))
        headers = [
            (b"content-type", kind.encode("latin-1")),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        body = b"" if scope["method"] == "HEAD" else body
        await send({"type": "http.response.body", "body": body, "more_body": False})

    def _read_metrics(self, scope: Scope) -> tuple[int, str, bytes]:
        accept = b",".join(value for name, value in scope["headers"] if name == b"accept")
        try:
            if self._metrics is not None:
                return 200, *self._metrics(accept.decode("latin-1"))
        except BackendError as error:
            LOG.error("metrics: %s", error)
        return 503, "text/plain", b"The metrics cannot be read; see the server's log.\n"

    def _read_health(self, scope: Scope) -> tuple[int, str, bytes]:
        if scope["query_string"] != b"detailed":
            return 200, "text/plain", b"OK\n"
        failures = [str(loaded) for loaded in self._images.api.backends if not _works(loaded)]
        lines = [f"{name} does not work" for name in failures] or ["OK"]
        return 503 if failures else 200, "text/plain", "".join(f"{one}\n" for one in lines).encode()


def _named(scope: Scope) -> Scope:
    """Give a request its id, for each line of the log and for the access log."""
    given = [value for name, value in scope["headers"] if name == _REQUEST_ID]
    text = b",".join(given).decode("latin-1")
    request_id = request_id_of({"HTTP_X_OPENSTACK_REQUEST_ID": text})
    # The server handles each request in a task, so that this ends with the request.
    REQUEST_ID.set(request_id)
    others = [header for header in scope["headers"] if header[0] != _REQUEST_ID]
    return {**scope, "headers": [*others, (_REQUEST_ID, request_id.encode())]}


def _works(loaded: Loaded[Any]) -> bool:
    """Whether a backend works; if not, the log says why, and no client."""
    try:
        with only_backend_errors(loaded):
            loaded.backend.check()
    except BackendError as error:
        LOG.error("healthcheck: %s: %s", loaded, error)
        return False
    return True
