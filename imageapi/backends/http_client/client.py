# SPDX-License-Identifier: Apache-2.0
"""The HTTP client: connections, timeouts, TLS, and errors translated into ours.

Nothing is taken from the environment: no proxy, no credentials.  The text of an
error contains no query of a URL, and nothing that a server sent.
"""

import http.client
import math
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import urllib3
from urllib3.exceptions import HTTPError, NewConnectionError, ProtocolError, ProxyError, SSLError
from urllib3.exceptions import TimeoutError as UpstreamTimeout
from urllib3.response import HTTPResponse

from imageapi.backends.http_client.connections import POOLS, SMALL_POOLS, close_pools
from imageapi.backends.http_client.options import UpstreamSettings
from imageapi.backends.http_client.status import check_encoding, close
from imageapi.backends.http_client.urls import Url
from imageapi.errors import BackendError, BackendUnavailable, BadReply

# The number of hosts for which connections are kept.
_HOSTS = 100

# The causes of errors if a connection was closed before the first byte of a response.
_CLOSED_BEFORE_RESPONSE = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)


class NotReached(BackendUnavailable):
    """There was no connection, or it was closed before a response."""


class Upstream:
    """Sends requests to servers.  Safe in threads, and after a fork."""

    def __init__(self, settings: UpstreamSettings, *, small: bool = False) -> None:
        """Create the connection pools; open no connection yet.

        :param small: True if each response, body included, must arrive within one
            read timeout.
        """
        self._settings = settings
        self._classes = SMALL_POOLS if small else POOLS
        self._lock = threading.Lock()
        self._pools = self._new_pools()
        self._process = os.getpid()

    def request(
        self,
        method: str,
        url: Url,
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes] | None = None,
    ) -> HTTPResponse:
        """Send a request, and read the status and headers of the response.

        :param headers: headers in addition to those of every request.
        :returns: a response of any status, its body unread and not decoded.  The
            caller must `close` it.
        :raises NotReached: no connection, or it was closed before a response.
        :raises BackendUnavailable: no response for now, such as after a timeout.
        :raises BadReply: the response is not valid HTTP.
        """
        until = time.monotonic() + self._settings.read_timeout
        with translated_errors(url):
            try:
                return self._request(method, url, headers, body, self._settings.read_timeout)
            except ProtocolError as error:
                # The server may close a kept connection just when it is reused.
                left = until - time.monotonic()
                can_be_sent_again = body is None or isinstance(body, bytes)
                was_closed = isinstance(_cause(error), _CLOSED_BEFORE_RESPONSE)
                if not can_be_sent_again or not was_closed or left <= 0:
                    raise
            return self._request(method, url, headers, body, left)

    def close(self) -> None:
        """Close the connections that are kept open."""
        with self._lock:
            if self._process == os.getpid():
                close_pools(self._pools)

    def _request(
        self, method: str, url: Url, headers: Mapping[str, str], body: Any, read_timeout: float
    ) -> HTTPResponse:
        # urllib3 sends within the connect timeout, but sending a body takes longer.
        connect_timeout = self._settings.connect_timeout if body is None else read_timeout
        response = self._pools_of_process().request(
            method,
            str(url),
            body=body,
            headers={"Accept-Encoding": "identity", "User-Agent": "imageapi", **headers},
            timeout=urllib3.Timeout(connect=connect_timeout, read=read_timeout),
            redirect=False,
            retries=False,
            preload_content=False,
            decode_content=False,
        )
        return cast(HTTPResponse, response)

    def _pools_of_process(self) -> urllib3.PoolManager:
        if self._process != os.getpid():
            # After a fork, the existing connections belong to the parent.
            with self._lock:
                if self._process != os.getpid():
                    self._pools = self._new_pools()
                    self._process = os.getpid()
        return self._pools

    def _new_pools(self) -> urllib3.PoolManager:
        settings = self._settings
        manager: Any = urllib3.ProxyManager if settings.proxy else urllib3.PoolManager
        pools: urllib3.PoolManager = manager(
            num_pools=_HOSTS,
            maxsize=settings.pool_size,
            ssl_context=settings.ssl_context,
            **settings.proxy or {},
        )
        pools.pool_classes_by_scheme = dict(self._classes)
        return pools


def read_small(response: HTTPResponse, url: Url, limit: int, until: float = math.inf) -> bytes:
    """Read the whole body of a small response, and close the response.

    :param limit: the maximum size of the body, in bytes.
    :param until: when to stop waiting for more (`time.monotonic`).
    :returns: the body.  For a status other than 200 it may be cut at the limit.
    :raises BackendUnavailable: the body does not arrive.
    :raises BadReply: the body is too large or compressed.
    """
    try:
        if response.status == 200:
            check_encoding(response, url)
        data = bytearray()
        with translated_errors(url):
            while len(data) <= limit and (piece := response.read1(limit, decode_content=False)):
                data += piece
                if time.monotonic() > until:
                    raise BackendUnavailable(f"{url.shown} timed out while receiving")
        if response.status == 200 and len(data) > limit:
            raise BadReply(f"{url.shown} returned more than the limit of {limit} bytes")
        return bytes(data)
    finally:
        close(response)


@contextmanager
def translated_errors(url: Url) -> Iterator[None]:
    """Translate the exceptions of urllib3 into ours.

    :raises BackendUnavailable: the server cannot be reached, or closed the connection.
    :raises BadReply: the response is not valid HTTP.
    """
    try:
        yield
    except (HTTPError, http.client.HTTPException) as error:
        raise _error_for(url, error) from None


def _error_for(url: Url, error: HTTPError | http.client.HTTPException) -> BackendError:
    cause = _cause(error)
    if isinstance(error, ProxyError):
        return BackendUnavailable(f"{url.shown} cannot be reached through the proxy")
    if isinstance(error, SSLError):
        reason = getattr(cause, "verify_message", None) or getattr(cause, "reason", None)
        return BackendUnavailable(f"{url.shown}: the TLS connection failed: {reason}")
    if isinstance(error, NewConnectionError):
        reason = getattr(cause, "strerror", None) or "no connection"
        return NotReached(f"{url.shown} cannot be reached: {reason}")
    # Not above: in urllib3 a refused connection is a kind of timeout.
    if isinstance(error, UpstreamTimeout):
        return BackendUnavailable(f"{url.shown} timed out while connecting or receiving")
    if isinstance(error, ProtocolError):
        if isinstance(cause, TimeoutError):
            return BackendUnavailable(f"{url.shown} timed out while sending")
        if isinstance(cause, OSError | http.client.IncompleteRead):
            return NotReached(f"{url.shown} closed the connection early")
    return BadReply(f"{url.shown} returned an invalid HTTP response")


def _cause(error: BaseException) -> BaseException | None:
    """Return the exception that urllib3 has wrapped, as an argument or as a cause."""
    wrapped = [one for one in error.args if isinstance(one, BaseException)]
    return wrapped[-1] if wrapped else error.__cause__
