# SPDX-License-Identifier: Apache-2.0
"""Records on an HTTP server: static files, another imageapi, or a Glance."""

import hashlib
from collections.abc import Generator, Hashable, Mapping, Sequence
from urllib.parse import quote

from oslo_config import cfg
from urllib3.response import HTTPResponse

from imageapi import document
from imageapi.backends.base import RegistryBackend
from imageapi.backends.http.list_parameters import dialect_of
from imageapi.backends.http.lists import UpstreamLists
from imageapi.backends.http_client.client import Upstream, read_small
from imageapi.backends.http_client.options import (
    AUTH,
    OPTIONS,
    RECORD_TTL,
    UpstreamSettings,
    token_headers,
)
from imageapi.backends.http_client.record_cache import Found, RecordCache
from imageapi.backends.http_client.status import (
    ABSENT,
    REFUSED,
    has_usable_validator,
    refuse_status,
)
from imageapi.backends.http_client.urls import Url, prefix
from imageapi.backends.listing import ListQuery
from imageapi.caller import Caller
from imageapi.errors import BadReply, ConfigurationError, ImageNotFound, MalformedImage
from imageapi.image import Image

_LARGEST_RECORD = 1024 * 1024


class HTTPRegistry(RegistryBackend):
    """Requests ``<endpoint>/<percent-encoded id><suffix>``.

    With ``auth = caller`` the upstream decides who may know of an image.  The endpoint
    tells whether the upstream can list images: that of a Glance or another imageapi can.
    """

    @classmethod
    def options(cls) -> Sequence[cfg.Opt]:
        return (
            cfg.StrOpt(
                "endpoint",
                required=True,
                help="The base URL of the records. The record of an image is at"
                " <endpoint>/<percent-encoded id><suffix>. Example:"
                " http://glance.example.com:9292/v2/images.",
            ),
            cfg.StrOpt("suffix", default="", help="Text after the id in the URL, such as .json."),
            AUTH,
            RECORD_TTL,
            *OPTIONS,
        )

    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        section = conf[group]
        self._suffix: str = section.suffix
        option = "endpoint"
        try:
            self._endpoint = prefix(section.endpoint)
            option = "suffix"
            Url.parse(self._text("x"))
        except ValueError as error:
            raise ConfigurationError([f"{option}: {error}"]) from None
        self._auth: str = section.auth
        self.decides_visibility = self._auth == "caller"
        self._upstream = Upstream(UpstreamSettings.of(conf, group), small=True)
        self._remembered = RecordCache(section.record_ttl)
        dialect = dialect_of(self._endpoint, self._suffix)
        self.can_list = dialect is not None
        self._lists = (
            None
            if dialect is None
            else UpstreamLists(
                self._upstream, self._endpoint, dialect, decides_visibility=self.decides_visibility
            )
        )

    def get(self, image_id: str, caller: Caller) -> Image:
        headers = token_headers(self._auth, caller)
        key = _key(image_id, headers)
        found = self._remembered.fresh(key)
        return _image(self._asked(image_id, headers, key) if found is None else found)

    def get_newest(self, image_id: str, caller: Caller) -> Image:
        headers = token_headers(self._auth, caller)
        return _image(self._asked(image_id, headers, _key(image_id, headers)))

    def list(self, query: ListQuery, caller: Caller) -> Generator[Image, None, None]:
        if self._lists is None:
            return super().list(query, caller)
        return self._lists.images(query, caller, token_headers(self._auth, caller))

    def check(self) -> str:
        url = Url.parse(self._text("imageapi-check"))
        response = self._upstream.request("GET", url, {})
        read_small(response, url, _LARGEST_RECORD)
        if response.status not in (200, *ABSENT, *(REFUSED if self.decides_visibility else ())):
            refuse_status(response, url)
        return f"endpoint {self._endpoint.shown}"

    def close(self) -> None:
        self._upstream.close()

    def _asked(self, image_id: str, headers: dict[str, str], key: Hashable) -> Found:
        """Ask the upstream for a record, and remember the result."""
        try:
            url = Url.parse(self._text(image_id))
        except ValueError:
            raise ImageNotFound("no URL can contain this image id") from None
        known = self._remembered.known(key)
        if known is not None:
            headers["If-None-Match"] = known.etag
        asked = self._remembered.now()
        response = self._upstream.request("GET", url, headers)
        data = read_small(response, url, _LARGEST_RECORD)
        if response.status == 304 and known is not None:
            self._remembered.renew(key, known, asked)
            return known.found
        self._refuse(response, url, key)
        found = document.found(data, image_id, url.shown)
        etag = response.headers.get("ETag", "").strip() if has_usable_validator(response) else ""
        self._remembered.replace(key, etag, found, asked)
        return found

    def _refuse(self, response: HTTPResponse, url: Url, key: Hashable) -> None:
        """Raise the error for a response that is no record."""
        if response.status in ABSENT:
            self._remembered.expire(key)
            raise ImageNotFound("no record")
        if response.status in REFUSED and self.decides_visibility:
            self._remembered.expire(key)
            raise ImageNotFound(f"the upstream refuses this caller with status {response.status}")
        if response.status != 200:
            refuse_status(response, url)

    def _text(self, image_id: str) -> str:
        return f"{str(self._endpoint).rstrip('/')}/{quote(image_id, safe='')}{self._suffix}"


def _key(image_id: str, headers: Mapping[str, str]) -> Hashable:
    # The upstream may return different records to different callers.
    return image_id, hashlib.sha256(headers.get("X-Auth-Token", "").encode()).digest()


def _image(found: Found) -> Image:
    if isinstance(found, MalformedImage):
        raise BadReply(found.args[0], found.visibility)
    return found
