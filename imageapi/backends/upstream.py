# SPDX-License-Identifier: Apache-2.0
"""A server asked over HTTP: connections, timeouts, TLS, and what goes wrong, in our words.

Nothing is taken from the environment: no proxy, no credentials.  No text of
an error holds more of a URL than its path, and nothing that a server sent.
"""

import http.client
import os
import re
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast
from urllib.parse import unquote

import urllib3
from oslo_config import cfg
from urllib3.exceptions import HTTPError, NewConnectionError, ProtocolError, ProxyError, SSLError
from urllib3.exceptions import TimeoutError as UpstreamTimeout
from urllib3.response import HTTPResponse
from urllib3.util import parse_url

from imageapi.backends.answers import close, refuse_encoding
from imageapi.backends.connections import POOLS, SMALL_POOLS
from imageapi.backends.urls import Url
from imageapi.caller import Caller
from imageapi.errors import BackendError, BackendUnavailable, BadReply, ConfigurationError

# How many hosts connections are kept for.
_HOSTS = 100

_TOKEN = re.compile(r"[\x21-\x7e]+")

#: For a section whose requests may be made in the caller's name.
AUTH = cfg.StrOpt(
    "auth",
    default="none",
    choices=[
        ("none", "Ask in nobody's name."),
        ("caller", "Send the caller's own token along, as X-Auth-Token."),
    ],
    help="In whose name the server is asked. What it refuses with caller is not there for the"
    " caller.",
)

#: The options of each section that has an upstream.
OPTIONS = (
    cfg.FloatOpt(
        "connect_timeout",
        default=5.0,
        min=0.001,
        help="How many seconds each step of connecting may take: an address of the host, the"
        " proxy, TLS.",
    ),
    cfg.FloatOpt(
        "read_timeout",
        default=30.0,
        min=0.001,
        help="How many seconds the head of an answer, a record, or the next bytes of data may"
        " take.",
    ),
    cfg.IntOpt(
        "pool_size",
        default=16,
        min=1,
        help="How many connections to one host are kept open: as many as the server has"
        " threads. More are made when needed, and closed after use.",
    ),
    cfg.StrOpt(
        "ca_file",
        help="A file of the certificates, in PEM, that sign those of the servers asked. Without"
        " it, those of the system.",
    ),
    cfg.StrOpt(
        "cert_file", help="A file of our own certificate, in PEM, for servers that ask for one."
    ),
    cfg.StrOpt("key_file", help="The key of cert_file, where it is not in the same file."),
    cfg.StrOpt(
        "proxy",
        secret=True,
        help="The URL of a proxy. Proxies that the environment names are not used.",
    ),
)


class Upstream:
    """Asks servers.  Safe in threads, and after a fork."""

    def __init__(self, conf: cfg.ConfigOpts, group: str, *, small: bool = False) -> None:
        """Read the options, and the certificates that they name.

        :param small: whether all answers are to come within the read timeout
            as a whole.
        :raises ConfigurationError: they cannot be used.
        """
        section = conf[group]
        self._connect_timeout: float = section.connect_timeout
        self._read_timeout: float = section.read_timeout
        self._classes = SMALL_POOLS if small else POOLS
        self._pool_options: dict[str, Any] = {
            "num_pools": _HOSTS,
            "maxsize": section.pool_size,
            "retries": False,
            "ssl_context": _ssl_context(section.ca_file, section.cert_file, section.key_file),
        }
        self._proxy = _proxy(section.proxy, self._pool_options["ssl_context"])
        self._lock = threading.Lock()
        self._pools = self._new_pools()
        self._process = os.getpid()

    def get(self, url: Url, headers: Mapping[str, str]) -> HTTPResponse:
        """Ask for a URL, and read the head of the answer.

        :param headers: besides those that every request has.
        :returns: an answer of any status, its body unread and not decoded;
            for the caller to `close`.
        :raises BackendUnavailable: there is none for now.
        :raises BadReply: what there is is not HTTP.
        """
        until = time.monotonic() + self._read_timeout
        with telling(url):
            try:
                return self._get(url, headers, self._read_timeout)
            except ProtocolError as error:
                # A connection that was kept may be closed just as it is used.
                left = until - time.monotonic()
                if not _was_closed(error) or left <= 0:
                    raise
            return self._get(url, headers, left)

    def get_small(
        self, url: Url, headers: Mapping[str, str], limit: int
    ) -> tuple[HTTPResponse, bytes]:
        """Ask for what is small, and read it whole.

        :param limit: bytes.
        :returns: the answer, closed, and its body; of another status than 200
            as much of it as there is within the limit.
        :raises BackendUnavailable: as for `get`, or the body does not come.
        :raises BadReply: as for `get`, or it is larger, or compressed.
        """
        response = self.get(url, headers)
        try:
            if response.status == 200:
                refuse_encoding(response, url)
            data = bytearray()
            with telling(url):
                while len(data) <= limit and (piece := response.read1(limit, decode_content=False)):
                    data += piece
            if response.status == 200 and len(data) > limit:
                raise BadReply(f"{url.shown} answers with more than {limit} bytes")
            return response, bytes(data)
        finally:
            close(response)

    def close(self) -> None:
        """Close the connections that are kept open."""
        with self._lock:
            if self._process == os.getpid():
                # clear() alone leaves it to the garbage collector to close them.
                for key in self._pools.pools.keys():  # noqa: SIM118 - it refuses iteration
                    pool = self._pools.pools.get(key)
                    if pool is not None:
                        pool.close()
                self._pools.clear()

    def _get(self, url: Url, headers: Mapping[str, str], read_timeout: float) -> HTTPResponse:
        response = self._pools_of_process().request(
            "GET",
            str(url),
            headers={"Accept-Encoding": "identity", "User-Agent": "imageapi", **headers},
            timeout=urllib3.Timeout(connect=self._connect_timeout, read=read_timeout),
            redirect=False,
            retries=False,
            preload_content=False,
            decode_content=False,
        )
        return cast(HTTPResponse, response)

    def _pools_of_process(self) -> urllib3.PoolManager:
        if self._process != os.getpid():
            # After a fork the parent goes on using the connections there are.
            with self._lock:
                if self._process != os.getpid():
                    self._pools = self._new_pools()
                    self._process = os.getpid()
        return self._pools

    def _new_pools(self) -> urllib3.PoolManager:
        pools = (
            urllib3.ProxyManager(**self._proxy, **self._pool_options)
            if self._proxy
            else urllib3.PoolManager(**self._pool_options)
        )
        pools.pool_classes_by_scheme = dict(self._classes)
        return pools


@contextmanager
def telling(url: Url) -> Iterator[None]:
    """Turn what urllib3 raises into our errors.

    :raises BackendUnavailable: the server cannot be reached, or broke off.
    :raises BadReply: what it says is not HTTP.
    """
    try:
        yield
    except UpstreamTimeout:
        raise BackendUnavailable(f"{url.shown} does not answer in time") from None
    except (ProtocolError, ProxyError, SSLError, NewConnectionError) as error:
        raise _told(url, error) from None
    except (HTTPError, http.client.HTTPException):
        raise BadReply(f"{url.shown} answers with something that is not HTTP") from None


def _told(url: Url, error: HTTPError) -> BackendError:
    cause = _cause(error)
    if isinstance(error, ProxyError):
        return BackendUnavailable(f"{url.shown} cannot be reached through the proxy")
    if isinstance(error, SSLError):
        reason = getattr(cause, "verify_message", None) or getattr(cause, "reason", None)
        return BackendUnavailable(f"{url.shown} cannot be trusted: TLS says {reason}")
    if isinstance(error, NewConnectionError):
        reason = getattr(cause, "strerror", None) or "no connection"
        return BackendUnavailable(f"{url.shown} cannot be reached: {reason}")
    if isinstance(cause, OSError | http.client.IncompleteRead):
        return BackendUnavailable(f"{url.shown} broke the connection off")
    return BadReply(f"{url.shown} answers with something that is not HTTP")


def _cause(error: BaseException) -> BaseException | None:
    """What urllib3 has wrapped, as an argument or as a cause."""
    wrapped = [one for one in error.args if isinstance(one, BaseException)]
    return wrapped[-1] if wrapped else error.__cause__


def _was_closed(error: ProtocolError) -> bool:
    """Whether the connection ended before a byte of an answer came."""
    return isinstance(
        _cause(error), http.client.RemoteDisconnected | ConnectionResetError | BrokenPipeError
    )


def _ssl_context(
    ca_file: str | None, cert_file: str | None, key_file: str | None
) -> ssl.SSLContext:
    if key_file and not cert_file:
        raise ConfigurationError(["key_file: needs a cert_file"])
    option = "ca_file"
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
        if cert_file:
            option = "cert_file"
            # Without a password OpenSSL would ask the terminal for one.
            context.load_cert_chain(cert_file, key_file or None, password="")
    except ssl.SSLError:
        raise ConfigurationError([f"{option}: does not hold it in PEM, unencrypted"]) from None
    except OSError as error:
        raise ConfigurationError([f"{option}: cannot be used: {error.strerror}"]) from None
    return context


def _proxy(url: str | None, context: ssl.SSLContext) -> dict[str, Any] | None:
    if not url:
        return None
    wrong = ConfigurationError(["proxy: must be a URL such as http://proxy.example.com:3128"])
    try:
        parts = parse_url(url)
    except HTTPError:
        raise wrong from None
    if parts.scheme not in ("http", "https") or not parts.host or parts.path not in (None, "/"):
        raise wrong
    try:
        headers = urllib3.make_headers(proxy_basic_auth=unquote(parts.auth)) if parts.auth else {}
    except ValueError:
        # Its text repeats a part of the password.
        raise wrong from None
    return {
        "proxy_url": str(parts._replace(auth=None)),
        "proxy_headers": headers,
        "proxy_ssl_context": context if parts.scheme == "https" else None,
    }


def token_headers(auth: str, caller: Caller) -> dict[str, str]:
    """What a request has that is made as the option `AUTH` says."""
    # A token that no header can hold is none.
    if auth == "caller" and caller.token and _TOKEN.fullmatch(caller.token):
        return {"X-Auth-Token": caller.token}
    return {}
