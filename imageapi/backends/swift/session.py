# SPDX-License-Identifier: Apache-2.0
"""Login by keystoneauth1: a token and an endpoint, renewed when necessary.

No error text contains text from keystoneauth or a server.
"""

import copy
import dataclasses
import hashlib
import os
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, cast
from weakref import WeakValueDictionary

import requests
from keystoneauth1 import exceptions, loading, noauth
from keystoneauth1.plugin import BaseAuthPlugin
from keystoneauth1.session import Session
from oslo_config import cfg
from requests.adapters import HTTPAdapter

from imageapi.backends.http_client.client import NotReached
from imageapi.backends.http_client.connections import SMALL_POOLS, close_pools
from imageapi.backends.http_client.options import UpstreamSettings
from imageapi.backends.http_client.urls import Url, prefix
from imageapi.backends.swift.options import (
    dependent_options,
    refuse_misplaced,
    section_of,
    upstream_settings,
)
from imageapi.errors import BackendError, BackendUnavailable, BadReply, ConfigurationError

_PROJECT = "%(project_id)s"


class Login(NamedTuple):
    """The credentials and the endpoint for a request.

    :ivar headers: the credentials; empty for anonymous requests.
    :ivar endpoint: the URL of the account.
    """

    headers: Mapping[str, str]
    endpoint: Url

    def url_of(self, path: str, query: str = "") -> Url:
        """Return the URL of a path in the account.

        :param path: normalized as by `Url`.
        """
        path = self.endpoint.path.rstrip("/") + path
        return dataclasses.replace(self.endpoint, path=path, query=query or None)

    def __repr__(self) -> str:
        return "<Login>"


class SwiftSession:
    """Logs in.

    Safe in threads, which share its token.  Safe after a fork, except a fork
    during a login.
    """

    def __init__(
        self, auth: BaseAuthPlugin, settings: UpstreamSettings, section: Mapping[str, Any]
    ) -> None:
        """Prepare; send no request yet.

        :param section: the options of the connection.
        :raises ConfigurationError: the options are invalid.
        """
        self._auth = auth
        self._settings = settings
        # Without a file, requests would trust a list of its own, and not the system's.
        system = ssl.get_default_verify_paths()
        trusted = section["cafile"] or system.cafile or system.capath or True
        self._verify: str | bool = not section["insecure"] and trusted
        self._override: str | None = section["endpoint_override"]
        names = ("service_type", "service_name", "region_name")
        self._wanted = {name: section[name] for name in names}
        self._wanted["interface"] = section["valid_interfaces"]
        self._refuse_override()
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._process = os.getpid()
        self._login: Login | None = None
        self._failed: tuple[float, BackendError] | None = None

    def login(self) -> Login:
        """Return a token that does not expire soon, and the endpoint for it.

        :raises NotReached, BackendUnavailable: no login is possible for now.
        :raises BadReply: the identity service refuses the login, or its response is
            invalid.
        """
        asked = time.monotonic()
        with self._lock:
            if self._failed is not None and self._failed[0] >= asked:
                # The login that this thread waited for failed: share the error, do not try again.
                raise copy.copy(self._failed[1])
            try:
                return self._logged_in()
            except BackendError as error:
                # A copy without the traceback, which would keep all local variables alive.
                self._failed = time.monotonic(), copy.copy(error)
                raise

    def renew(self, used: Login) -> bool:
        """Discard a login that was refused.

        :returns: whether another login may succeed.
        """
        with self._lock:
            if self._login is used:
                self._login = None
                return bool(used.headers) and bool(self._auth.invalidate())
        # Another thread has renewed the login meanwhile.
        return bool(used.headers)

    def close(self) -> None:
        """Close the kept connections; the next login opens new ones."""
        with self._lock:
            if self._session is not None and self._process == os.getpid():
                self._session.session.close()
                self._session = None

    def _logged_in(self) -> Login:
        with self._translated_errors():
            session = self._session_of_process()
            headers: Mapping[str, str] = {}
            # NoAuth would return a made-up token.
            if not isinstance(self._auth, noauth.NoAuth):
                headers = dict(session.get_auth_headers(self._auth) or {})
            if self._login is None or self._login.headers != headers:
                self._login = Login(headers, self._endpoint(session))
        return self._login

    def _session_of_process(self) -> Session:
        if self._session is None or self._process != os.getpid():
            # After a fork, the existing connections belong to the parent.
            http = requests.Session()
            # Use no proxy and no credentials from the environment.
            http.trust_env = False
            for scheme in ("http://", "https://"):
                http.mount(scheme, _Adapter(self._settings.ssl_context))
            timeout = self._settings.read_timeout
            self._session = Session(session=http, verify=self._verify, timeout=timeout)
            self._process = os.getpid()
        return self._session

    def _endpoint(self, session: Session) -> Url:
        url = self._override
        if url is None:
            url = session.get_endpoint(self._auth, **self._wanted)
            if url is None:
                raise exceptions.EndpointNotFound()
        elif _PROJECT in url:
            url = url.replace(_PROJECT, session.get_project_id(self._auth) or "")
        try:
            return prefix(url)
        except ValueError as error:
            raise BadReply(f"the Swift endpoint is not a valid URL: {error}") from None

    def _refuse_override(self) -> None:
        if self._override is not None:
            try:
                prefix(self._override.replace(_PROJECT, "x"))
            except ValueError as error:
                raise ConfigurationError([f"endpoint_override: {error}"]) from None
        elif isinstance(self._auth, noauth.NoAuth) and not self._auth.endpoint:
            raise ConfigurationError(["endpoint_override: must be set when auth_type is none"])

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        """Translate the exceptions of keystoneauth into ours."""
        auth_url = getattr(self._auth, "auth_url", None)
        where = prefix(auth_url).shown if auth_url else "the endpoint"
        try:
            yield
        except exceptions.SSLError:
            raise BackendUnavailable(f"{where}: the TLS connection failed") from None
        except exceptions.ConnectTimeout:
            raise BackendUnavailable(f"{where} timed out while connecting or receiving") from None
        except (exceptions.ConnectionError, exceptions.DiscoveryFailure):
            raise NotReached(f"{where} cannot be reached") from None
        except exceptions.CatalogException:
            raise BadReply(
                f"the catalog has no {self._wanted['service_type']} endpoint for this user: check"
                " project_name and its domain, region_name, valid_interfaces and service_type"
            ) from None
        except exceptions.HttpError as error:
            raise _refused(where, error) from None
        except BackendError:
            raise
        except Exception as error:  # noqa: BLE001 - plugins raise any, for invalid responses
            raise BadReply(f"logging in at {where} failed: {type(error).__name__}") from None


class _Adapter(HTTPAdapter):
    """Accepts only valid responses that arrive completely within the timeout."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, **options)
        self.poolmanager.pool_classes_by_scheme = dict(SMALL_POOLS)

    def close(self) -> None:
        close_pools(self.poolmanager)


def _refused(where: str, error: exceptions.HttpError) -> BackendError:
    status = error.http_status
    if status == 429 or status >= 500:
        retry_after = getattr(error, "retry_after", 0) or None
        return BackendUnavailable(f"{where} answers with status {status}", retry_after)
    hint = "; check auth_url" if status in (404, 405, 412) else ""
    return BadReply(f"login failed: {where} answers with status {status}{hint}")


# A session is dropped together with the last backend that uses it.
_SHARED: WeakValueDictionary[tuple[object, ...], SwiftSession] = WeakValueDictionary()
_SHARED_LOCK = threading.Lock()


def session_of(conf: cfg.ConfigOpts, group: str) -> SwiftSession:
    """Return the session of a backend; backends with the same section share one.

    :raises ConfigurationError: the options of the section are invalid.
    """
    refuse_misplaced(conf, group)
    (section, options), *_ = dependent_options(conf, group).items()
    values = {option.dest: conf[section][option.dest] for option in options}
    # The values are in the key because the owner of conf may reload its files.
    digest = hashlib.sha256(repr(sorted(values.items())).encode()).digest()
    key = (id(conf), section, digest)
    with _SHARED_LOCK:
        session = _SHARED.get(key)
        if session is None:
            session = SwiftSession(_plugin(conf, group), upstream_settings(conf, group), values)
            _SHARED[key] = session
        return session


def _plugin(conf: cfg.ConfigOpts, group: str) -> BaseAuthPlugin:
    section = section_of(conf, group)
    try:
        auth = loading.load_auth_from_conf_options(conf, group)
    except exceptions.MissingRequiredOptions as error:
        problems = [f"{option.dest}: must be set in [{section}]" for option in error.options]
        raise ConfigurationError(problems) from None
    except exceptions.OptionError as error:
        # The exception contains names of options, but no values.
        raise ConfigurationError([f"auth_type: in [{section}]: {error}"]) from None
    except exceptions.AuthPluginException as error:
        message = f"{conf[section].auth_type} cannot be used: {type(error).__name__}"
        raise ConfigurationError([f"auth_type: {message}"]) from None
    try:
        prefix(getattr(auth, "auth_url", None) or "http://x")
    except ValueError as error:
        raise ConfigurationError([f"auth_url: in [{section}]: {error}"]) from None
    # Not None: dependent_options() refuses a section without auth_type.
    return cast("BaseAuthPlugin", auth)
