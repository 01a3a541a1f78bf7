# SPDX-License-Identifier: Apache-2.0
"""The listings of containers."""

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from imageapi.backends.http_client.client import read_small
from imageapi.backends.http_client.status import ABSENT, refuse_status
from imageapi.backends.http_client.urls import Url
from imageapi.backends.swift.account import SwiftAccount
from imageapi.backends.swift.options import path_of
from imageapi.errors import BackendUnavailable, BadReply

#: In bytes.  A page has at most 10,000 entries, whose names have at most 1,024 bytes.
LARGEST_LISTING = 32 * 2**20


def objects_in(account: SwiftAccount, container: str, prefix: str) -> Iterator[Mapping[str, Any]]:
    """Yield Swift's entries for the objects whose names begin with a prefix, page by page.

    It yields none if the container does not exist.

    :raises BackendError: the container cannot be listed.
    """
    marker = ""
    while True:
        query = f"format=json&prefix={quote(prefix, safe='')}&marker={quote(marker, safe='')}"
        response, url = account.request("GET", path_of(container), {}, query=query)
        listing = read_small(response, url, LARGEST_LISTING)
        if response.status in ABSENT and not marker:
            return
        if response.status in ABSENT:
            # Callers must not conclude that the rest of the objects does not exist.
            raise BackendUnavailable(f"{url.shown} disappeared while it was listed: try again")
        if response.status not in (200, 204):
            refuse_status(response, url)
        entries = entries_of(listing, url) if listing else []
        if not entries:
            return
        yield from entries
        marker = str(entries[-1]["name"])


def entries_of(listing: bytes, url: Url) -> list[Mapping[str, Any]]:
    """Return the objects of a listing or a manifest, which all have a name.

    :raises BadReply: it is malformed.
    """
    try:
        entries = json.loads(listing)
        if all(isinstance(entry["name"], str) for entry in entries):
            return list(entries)
    except (ValueError, TypeError, KeyError):
        pass
    raise BadReply(f"{url.shown} returned an invalid listing")
