# SPDX-License-Identifier: Apache-2.0
"""Requests to an account of Swift, with login and retries."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from oslo_config import cfg
from urllib3.response import HTTPResponse

from imageapi.backends.http_client.client import NotReached, Upstream
from imageapi.backends.http_client.retries import Retry, pauses
from imageapi.backends.http_client.status import ABSENT, REFUSED, close, refuse_status
from imageapi.backends.http_client.urls import Url
from imageapi.backends.swift.options import path_of, section_of, upstream_settings
from imageapi.backends.swift.session import session_of
from imageapi.errors import BackendError

#: Swift's status for an invalid object name, in response to an unconditional request.
NO_NAME = 412


class Retries(NamedTuple):
    """How often, and after how many seconds, a request is retried.

    Each field is the option of the same name, as in keystoneauth.  A delay of None means
    that the delay doubles at each retry.
    """

    connect_retries: int
    connect_retry_delay: float | None
    status_code_retries: int
    status_code_retry_delay: float | None
    retriable_status_codes: Sequence[int]


class _Retry(Retry):
    """Decides whether, and when, one request is retried, and whether with a new token."""

    def __init__(self, retries: Retries) -> None:
        super().__init__(
            pauses(retries.connect_retries, retries.connect_retry_delay),
            pauses(retries.status_code_retries, retries.status_code_retry_delay),
            retries.retriable_status_codes,
        )
        self._may_renew = True

    def after_no_answer(self, error: NotReached) -> bool:
        is_left = super().after_no_answer(error)
        # If Swift was restarted meanwhile, it may have forgotten a new token too.
        self._may_renew |= is_left
        return is_left

    def after_refused_login(self, response: HTTPResponse) -> bool:
        """Whether a response is the first on this connection that refuses the token."""
        if response.status != 401 or not self._may_renew:
            return False
        self._may_renew = False
        return True


class SwiftAccount:
    """Sends requests to an account.  Safe in threads, and after a fork."""

    def __init__(self, conf: cfg.ConfigOpts, group: str, *, small: bool = False) -> None:
        """Read the options of the section that has the connection to Swift.

        :param small: as for `Upstream`.
        :raises ConfigurationError: the options are invalid.
        """
        self._session = session_of(conf, group)
        self._upstream = Upstream(upstream_settings(conf, group), small=small)
        section = conf[section_of(conf, group)]
        self._retries = Retries(*(section[name] for name in Retries._fields))

    def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes] | None = None,
        query: str = "",
    ) -> tuple[HTTPResponse, Url]:
        """Send a request, and read the status and headers of the response.

        If the token is refused, it is renewed once, and once more after each failed
        connection.  After a failed connection, or a status in retriable_status_codes,
        the request is retried as the options say.  A request whose body can be read
        only once is not sent again.

        :param path: as returned by `path_of`.
        :returns: a response of any status, its body unread, which the caller must
            `close`; and the URL of the request.
        :raises BackendUnavailable: there is no response for now.
        :raises BadReply: the response is invalid.
        """
        retry = _Retry(self._retries)
        can_be_sent_again = body is None or isinstance(body, bytes)
        while True:
            try:
                login = self._session.login()
                url = login.url_of(path, query)
                response = self._upstream.request(method, url, {**headers, **login.headers}, body)
            except NotReached as error:
                if not can_be_sent_again or not retry.after_no_answer(error):
                    raise
                continue
            if not can_be_sent_again:
                return response, url
            if retry.after_refused_login(response) and self._session.renew(login):
                close(response)
            elif not retry.after_answer(response, url):
                return response, url

    def check(self, container: str) -> str:
        """Test whether a container exists and can be read.

        :returns: its URL in a text for the operator.
        :raises BackendError: the container does not exist or cannot be read.
        """
        path = path_of(container)
        response, url = self.request("GET", path, {}, query="limit=1")
        close(response)
        if response.status in REFUSED and not self._session.login().headers:
            # A public container may forbid anonymous listing: request an object instead.
            response, _ = self.request("GET", f"{path}/imageapi-check", {})
            close(response)
            if response.status in ABSENT:
                return f"container {container} at {url.shown}"
        if response.status in ABSENT:
            raise BackendError(f"{url.shown}: the container does not exist: create it")
        if response.status not in (200, 204):
            refuse_status(response, url)
        return f"container {container} at {url.shown}"

    def close(self) -> None:
        """Close the kept connections."""
        self._upstream.close()
        self._session.close()
