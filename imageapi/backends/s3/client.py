# SPDX-License-Identifier: Apache-2.0
"""Requests to S3: signed, retried, and their errors read.

botocore signs them (Signature Version 4).  No error text contains text from a server.
"""

import logging
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple, NoReturn

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from oslo_config import cfg
from urllib3.response import HTTPResponse

from imageapi.backends.http_client.client import NotReached, Upstream, read_small
from imageapi.backends.http_client.options import UpstreamSettings
from imageapi.backends.http_client.retries import Retry, pauses
from imageapi.backends.http_client.status import refuse_status, time_of
from imageapi.backends.http_client.urls import Url
from imageapi.backends.s3.credentials import (
    ConfiguredCredentials,
    Credentials,
    FoundCredentials,
    Keys,
)
from imageapi.backends.s3.options import refuse_half_a_login, urls_of
from imageapi.errors import BackendUnavailable, BadReply

LOG = logging.getLogger(__name__)

_RETRIES = 3
_RETRIED = (500, 503)

_LARGEST_ERROR = 64 * 1024
_CODE = re.compile(rb"<Code>([A-Za-z]{1,64})</Code>")
_SIZE = re.compile(rb"<ActualObjectSize>([0-9]{1,19})</ActualObjectSize>")

# Small enough that a slow connection sends it within the timeout.
_CHUNK_SIZE = 64 * 1024

#: The code of an error, if the bucket does not exist.
NO_BUCKET = "NoSuchBucket"
_SKEWED = "RequestTimeTooSkewed"
# After them, botocore may find other credentials.
_OUTDATED = ("ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch")

_ELSEWHERE = "check region_name and endpoint_url: the bucket may be in another region"
_HINTS = {
    "AccessDenied": "these credentials do not allow it",
    "AuthorizationHeaderMalformed": _ELSEWHERE,
    "ExpiredToken": "the credentials have expired",
    "InvalidAccessKeyId": "the server does not know the access key",
    "InvalidObjectState": "the object is archived: restore it",
    "InvalidToken": "the server does not know the token of the credentials",
    "PermanentRedirect": _ELSEWHERE,
    "SignatureDoesNotMatch": "a key is wrong, or a proxy has changed the request",
    "TemporaryRedirect": _ELSEWHERE,
}


class S3Answer(NamedTuple):
    """A response, and what its body says if it is an error.

    :ivar response: its body is unread if the status is less than 300.
    :ivar code: S3's name of the error; empty if S3 names none.
    """

    response: HTTPResponse
    url: Url
    code: str


class S3Client:
    """Sends requests to S3.  Safe in threads, and after a fork."""

    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        """Read the options of a section; send no request yet.

        :raises ConfigurationError: the options are invalid.
        """
        section = conf[group]
        refuse_half_a_login(section)
        self._url_of = urls_of(section)
        self._region: str = section.region_name
        self._timeout: float = section.read_timeout
        self._credentials: Credentials = FoundCredentials(self._timeout)
        if section.access_key:
            keys = Keys(section.access_key, section.secret_key)
            self._credentials = ConfiguredCredentials(keys)
        self._upstream = Upstream(UpstreamSettings.of(conf, group))

    def request(
        self,
        method: str,
        bucket: str,
        path: str = "/",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        query: str | None = None,
    ) -> S3Answer:
        """Send a request, and read the status, the headers and the error of the response.

        It is retried after a failed connection, and after the statuses 500 and 503.  If
        the server does not accept the credentials, they are searched for once more.

        :param path: of the object, after the URL of the bucket.
        :param query: percent-encoded; each parameter has a ``=``.
        :returns: a response of any status, which the caller must `close`.
        :raises BackendUnavailable: there is no response for now.
        :raises BadReply: the response is invalid, or there are no credentials.
        """
        beginning = self._url_of(bucket)
        url = replace(beginning, path=beginning.path + path.removeprefix("/"), query=query)
        retry = Retry(pauses(_RETRIES, None), pauses(_RETRIES, None), _RETRIED)
        may_renew = True
        while True:
            keys = self._credentials.get()
            try:
                response = self._send(method, url, headers or {}, body, keys)
            except NotReached as error:
                if not retry.after_no_answer(error):
                    raise
                continue
            if retry.after_answer(response, url):
                continue
            answer = S3Answer(response, url, "")
            if response.status >= 300:
                answer = self._with_code(response, url)
            if not (answer.code in _OUTDATED and may_renew and self._credentials.renew(keys)):
                return answer
            may_renew = False

    def close(self) -> None:
        """Close the kept connections."""
        self._upstream.close()

    def _send(
        self, method: str, url: Url, headers: Mapping[str, str], body: bytes | None, keys: Keys
    ) -> HTTPResponse:
        request = AWSRequest(method=method, url=str(url), headers=dict(headers), data=body or b"")
        S3SigV4Auth(ReadOnlyCredentials(*keys), "s3", self._region).add_auth(request)
        signed = dict(request.headers.items())
        if body is None:
            return self._upstream.request(method, url, signed)
        signed["Content-Length"] = str(len(body))
        chunks = [body[at : at + _CHUNK_SIZE] for at in range(0, len(body), _CHUNK_SIZE)]
        return self._upstream.request(method, url, signed, chunks)

    def _with_code(self, response: HTTPResponse, url: Url) -> S3Answer:
        body = read_small(response, url, _LARGEST_ERROR, time.monotonic() + self._timeout)
        size = _SIZE.search(body)
        if response.status == 416 and size is not None:
            # Amazon's S3 tells the size in the body only.
            response.headers.setdefault("Content-Range", f"bytes */{size[1].decode()}")
        code = _CODE.search(body)
        return S3Answer(response, url, code[1].decode() if code else "")


def refuse(answer: S3Answer) -> NoReturn:
    """Raise the error for a status that the caller does not handle itself.

    :raises BackendUnavailable: for 429 and 5xx, and if the bucket does not exist.
    :raises BadReply: for all other statuses.
    """
    response, url, code = answer
    message = f"{url.shown} answers with status {response.status}"
    if code == NO_BUCKET:
        raise BackendUnavailable(f"{message}: the bucket does not exist")
    if code == _SKEWED:
        raise BadReply(f"{message}: {_skew(response)}")
    if code in _HINTS:
        raise BadReply(f"{message}: {_HINTS[code]}")
    refuse_status(response, url)


def _skew(response: HTTPResponse) -> str:
    then = time_of(response.headers.get("Date", ""))
    message = "the clock of this machine differs from that of the server"
    if then is not None:
        message += f" by {abs((datetime.now(UTC) - then).total_seconds()):.0f} s"
    return f"{message}: synchronize it"
