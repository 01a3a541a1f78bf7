# SPDX-License-Identifier: Apache-2.0
"""Records on an HTTP server: static files, another imageapi, or a Glance."""

import hashlib
from collections.abc import Generator, Sequence
from urllib.parse import quote

from oslo_config import cfg

from imageapi import document
from imageapi.backends.base import RegistryBackend
from imageapi.backends.http.list_parameters import dialect_of
from imageapi.backends.http.lists import UpstreamLists
from imageapi.backends.http_client.client import Upstream, read_small
from imageapi.backends.http_client.options import AUTH, OPTIONS, UpstreamSettings, token_headers
from imageapi.backends.http_client.record_cache import RecordCache
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
        self._remembered = RecordCache()
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
        try:
            url = Url.parse(self._text(image_id))
        except ValueError:
            raise ImageNotFound("no URL can contain this image id") from None
        headers = token_headers(self._auth, caller)
        # The upstream may return different records to different callers.
        key = (image_id, hashlib.sha256(headers.get("X-Auth-Token", "").encode()).digest())
        known = self._remembered.get(key)
        if known is not None:
            headers["If-None-Match"] = known.etag
        response = self._upstream.request("GET", url, headers)
        data = read_small(response, url, _LARGEST_RECORD)
        if response.status == 304 and known is not None:
            return _image(known.found)
        if response.status in ABSENT:
            raise ImageNotFound("no record")
        if response.status in REFUSED and self.decides_visibility:
            raise ImageNotFound(f"the upstream refuses this caller with status {response.status}")
        if response.status != 200:
            refuse_status(response, url)
        found = document.found(data, image_id, url.shown)
        etag = response.headers.get("ETag", "").strip()
        self._remembered.replace(key, etag if has_usable_validator(response) else "", found)
        return _image(found)

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

    def _text(self, image_id: str) -> str:
        return f"{str(self._endpoint).rstrip('/')}/{quote(image_id, safe='')}{self._suffix}"


def _image(found: Image | MalformedImage) -> Image:
    if isinstance(found, MalformedImage):
        raise BadReply(found.args[0], found.visibility)
    return found
