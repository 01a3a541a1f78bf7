# SPDX-License-Identifier: Apache-2.0
"""The entry points for ASGI: an application and a middleware."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from oslo_config import cfg
from webob import Request

from imageapi.api import ImageAPI, Steps
from imageapi.asgi.scope import ASGIApplication, Message, Receive, Scope, Send, environ_of, paths_of
from imageapi.asgi.socket_writer import EXTENSION
from imageapi.asgi.streaming import send_answer
from imageapi.asgi.threads import Pool
from imageapi.events.base import EventsBackend
from imageapi.lazy_api import LazyAPI
from imageapi.protocol.routes import route_of

T = TypeVar("T")

#: How many requests use their backends at once; further ones wait for a thread.
THREADS = 32


class _Door:
    """Serves an API over ASGI, in threads of its own."""

    #: How often the events backends are told how busy the threads are, in seconds.
    load_seconds = 1.0

    def __init__(self, api: ImageAPI | LazyAPI, threads: int) -> None:
        self.api = api
        self._pool = Pool(threads)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle HTTP requests and the lifespan; close this application when the lifespan ends."""
        if scope["type"] == "http":
            writer = (scope.get("extensions") or {}).get(EXTENSION)
            await send_answer(self._pool, self._answer(scope), receive, send, writer)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await receive()
            await send({"type": "websocket.close"})

    async def _live(self, receive: Receive, send: Send) -> None:
        reporting = asyncio.ensure_future(self._report_load())
        try:
            while (await receive())["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
        finally:
            reporting.cancel()
        await asyncio.to_thread(self.close)
        await send({"type": "lifespan.shutdown.complete"})

    async def _report_load(self) -> None:
        while True:
            await asyncio.sleep(self.load_seconds)
            self.api.observers.loaded(self._pool.load())

    def _answer(self, scope: Scope) -> Steps:
        return (yield from self.api.route(Request(environ_of(scope))))

    async def run(self, work: Callable[[], T]) -> T:
        """Run something else that may block in one of the threads."""
        return await self._pool.run(work)

    def close(self) -> None:
        """End the threads and close the backends.  Send no request to this object afterwards."""
        self._pool.close()
        self.api.close()


class Application(_Door):
    """Serves images as an ASGI application, mounted at any path.

    A slow client keeps no thread busy.  The process may fork until the first request.
    """

    api: ImageAPI

    def __init__(
        self, conf: cfg.ConfigOpts, *, threads: int = THREADS, events: Sequence[EventsBackend] = ()
    ) -> None:
        """Load the backends that the configuration names; start no thread yet.

        :param conf, events: as for `imageapi.ImageAPI`.
        :param threads: the number of threads that use the backends.
        :raises imageapi.errors.ConfigurationError: the configuration is invalid.
        """
        super().__init__(ImageAPI(conf, events=events), threads)


class Middleware:
    """Answers GET and HEAD of images, of their lists and of ``/v1``.

    It passes all other requests to the wrapped application, and closes itself when that has
    ended its lifespan.
    """

    def __init__(
        self, app: ASGIApplication, conf: cfg.ConfigOpts, *, threads: int = THREADS
    ) -> None:
        """Put images in front of an application.

        :param app: receives every other request unchanged, and the lifespan.
        :param conf: as for `imageapi.ImageAPI`.
        :param threads: as for `Application`.
        :raises imageapi.errors.ConfigurationError: the configuration is invalid.
        """
        self.app = app
        self.images = Application(conf, threads=threads)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, partial(self._send_lifespan, send))
        elif (
            scope["type"] == "http" and scope["method"] in ("GET", "HEAD") and self._answers(scope)
        ):
            await self.images(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _answers(self, scope: Scope) -> bool:
        route = route_of(*paths_of(scope))
        return route is not None and route.is_versioned and self.images.api.has(route)

    async def _send_lifespan(self, send: Send, message: Message) -> None:
        if message["type"].startswith("lifespan.shutdown."):
            await asyncio.to_thread(self.close)
        await send(message)

    def close(self) -> None:
        """End the threads and close the backends, but not the wrapped application."""
        self.images.close()


#: The application for any ASGI server.  Its configuration files are those in
#: IMAGEAPI_CONFIG_FILE, separated by ``:``.  If that is not set, oslo.config's
#: default files are used.
application = _Door(LazyAPI(), THREADS)
