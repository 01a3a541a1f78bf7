# SPDX-License-Identifier: Apache-2.0
"""The meaning of an upstream's response: its status, and whether it is settled."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import NoReturn

from urllib3.response import HTTPResponse

from imageapi.backends.http_client.urls import Url
from imageapi.errors import BackendUnavailable, BadReply

#: The resource does not exist.
ABSENT = (404, 410)
#: The server refuses the credentials of the request.
REFUSED = (401, 403)

# The upper limit, in seconds, for a Retry-After that asks for longer.
_LONGEST_RETRY_AFTER = 24 * 3600

# Within two seconds of a change, a second change may happen in the same second.  Servers
# make ETags from seconds and sizes, so both changes may have the same ETag.
_SETTLED = timedelta(seconds=2)


def close(response: HTTPResponse) -> None:
    """Close a response; its connection is kept only if the whole body was read."""
    response.close()
    response.release_conn()


def check_encoding(response: HTTPResponse, url: Url) -> None:
    """Raise an error for compressed data, as these are not the requested bytes.

    :raises BadReply: the response has a Content-Encoding.
    """
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding.strip().lower() != "identity":
        raise BadReply(f"{url.shown} returned a Content-Encoding, though identity was requested")


def refuse_status(response: HTTPResponse, url: Url) -> NoReturn:
    """Raise the error for a status that the caller does not handle itself.

    :raises BackendUnavailable: for 429 and 5xx, with the server's Retry-After.
    :raises BadReply: for all other statuses.
    """
    message = f"{url.shown} answers with status {response.status}"
    if response.status == 429 or response.status >= 500:
        raise BackendUnavailable(message, retry_after_of(response))
    raise BadReply(message)


def retry_after_of(response: HTTPResponse) -> int | None:
    """Return the delay of Retry-After (RFC 9110, 10.2.3) in seconds; None without one."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return min(int(text[:9]), _LONGEST_RETRY_AFTER)
    then = time_of(text)
    if then is None:
        return None
    seconds = int((then - datetime.now(UTC)).total_seconds())
    return min(max(seconds, 0), _LONGEST_RETRY_AFTER)


def time_of(text: str) -> datetime | None:
    """Parse an HTTP date (RFC 9110, 5.6.7); return None if it is invalid."""
    try:
        then = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return then if then.tzinfo is not None else then.replace(tzinfo=UTC)


def has_usable_validator(response: HTTPResponse) -> bool:
    """Whether every later change will change ETag and Last-Modified."""
    modified = time_of(response.headers.get("Last-Modified", ""))
    if modified is None:
        return "Last-Modified" not in response.headers
    now = time_of(response.headers.get("Date", ""))
    return now is not None and now - modified >= _SETTLED
