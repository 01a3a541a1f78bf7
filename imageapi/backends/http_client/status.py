# SPDX-License-Identifier: Apache-2.0
"""What the answer of an upstream means."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import NoReturn

from urllib3.response import HTTPResponse

from imageapi.backends.http_client.urls import Url
from imageapi.errors import BackendUnavailable, BadReply

#: There is nothing under that URL.
ABSENT = (404, 410)
#: The server wants somebody else to ask.
REFUSED = (401, 403)

# Who asks to be asked again later than that is asked sooner, all the same.
_LONGEST_RETRY_AFTER = 24 * 3600

# What changed in the last two seconds may have changed twice in one of them,
# and servers make ETags of seconds and sizes.
_SETTLED = timedelta(seconds=2)


def close(response: HTTPResponse) -> None:
    """Let go of an answer: its connection is kept only if all of it was read."""
    response.close()
    response.release_conn()


def check_encoding(response: HTTPResponse, url: Url) -> None:
    """Bytes that are compressed are others than those that were asked for.

    :raises BadReply: they are.
    """
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding.strip().lower() != "identity":
        raise BadReply(f"{url.shown} returned a Content-Encoding, though identity was requested")


def refuse_status(response: HTTPResponse, url: Url) -> NoReturn:
    """Raise what a status means that is none of those the caller knows.

    :raises BackendUnavailable: for 429 and 5xx, with the server's Retry-After.
    :raises BadReply: for all others.
    """
    told = f"{url.shown} answers with status {response.status}"
    if response.status == 429 or response.status >= 500:
        raise BackendUnavailable(told, retry_after_of(response))
    raise BadReply(told)


def retry_after_of(response: HTTPResponse) -> int | None:
    """The seconds, or the time, of Retry-After (RFC 9110, 10.2.3), in seconds."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return min(int(text[:9]), _LONGEST_RETRY_AFTER)
    then = time_of(text)
    if then is None:
        return None
    seconds = int((then - datetime.now(UTC)).total_seconds())
    return min(max(seconds, 0), _LONGEST_RETRY_AFTER)


def time_of(text: str) -> datetime | None:
    """An HTTP date (RFC 9110, 5.6.7); None where it is none."""
    try:
        then = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return then if then.tzinfo is not None else then.replace(tzinfo=UTC)


def has_usable_validator(response: HTTPResponse) -> bool:
    """Whether what changes from now on has another ETag, and another Last-Modified."""
    modified = time_of(response.headers.get("Last-Modified", ""))
    if modified is None:
        return "Last-Modified" not in response.headers
    now = time_of(response.headers.get("Date", ""))
    return now is not None and now - modified >= _SETTLED
