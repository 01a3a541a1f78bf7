# SPDX-License-Identifier: Apache-2.0
"""Data on HTTP servers, at allowed URLs."""

import re
from collections.abc import Sequence
from typing import NoReturn
from urllib.parse import quote

from oslo_config import cfg
from urllib3.response import HTTPResponse

from imageapi.backends.base import Blob, StoreBackend
from imageapi.backends.http_client.blob import HTTPBlob, range_headers
from imageapi.backends.http_client.client import Upstream
from imageapi.backends.http_client.options import AUTH, OPTIONS, UpstreamSettings, token_headers
from imageapi.backends.http_client.status import (
    ABSENT,
    REFUSED,
    close,
    has_usable_validator,
    refuse_status,
    time_of,
)
from imageapi.backends.http_client.urls import Url, prefix
from imageapi.caller import Caller
from imageapi.errors import (
    BadReply,
    ConfigurationError,
    DataChanged,
    DataForbidden,
    DataNotFound,
    LocationRefused,
)
from imageapi.image import Location

_REDIRECTS = (301, 302, 303, 307, 308)
_HOPS = 5

_MD5 = "md5 "

_STRONG_ETAG = re.compile(r'"[\x21\x23-\x7e]*"')


class HTTPStore(StoreBackend):
    """Reads ``http:`` and ``https:`` URLs below the allowed prefixes."""

    schemes = frozenset({"http", "https"})

    @classmethod
    def options(cls) -> Sequence[cfg.Opt]:
        return (
            cfg.ListOpt(
                "allowed_urls",
                default=[],
                help="URL prefixes below which data may be read, such as"
                " https://images.example.com/public. Scheme, host and port of a URL must be"
                " equal to those of the prefix. Its path must be equal, or continue with a slash."
                " imageapi never connects to another URL, not even for a redirect.",
            ),
            cfg.StrOpt(
                "url_template",
                # It may hold a signature.
                secret=True,
                help="The URL of an image's data if its record has no location. It must contain"
                " {image_id} and be allowed by allowed_urls. Example:"
                " http://glance.example.com:9292/v2/images/{image_id}/file.",
            ),
            cfg.BoolOpt(
                "trust_validators",
                default=False,
                help="Whether the same ETag, Last-Modified or Content-MD5 always means the same"
                " bytes. If true, verify_checksum = once verifies data once for each value. If"
                " false, verify_checksum = once does the same as always.",
            ),
            AUTH,
            *OPTIONS,
        )

    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        section = conf[group]
        self._trusts_validators: bool = section.trust_validators
        self._allowed = _prefixes(section.allowed_urls)
        self._template: str | None = section.url_template or None
        self._auth: str = section.auth
        self.decides_access = self._auth == "caller"
        self._own_origin = self._origin_of_template()
        self._upstream = Upstream(UpstreamSettings.of(conf, group))
        self._chunk_size: int = conf.imageapi.chunk_size

    def locate(self, image_id: str) -> Location:
        if self._template is None:
            raise LocationRefused("the record has no location: add one, or set url_template")
        return Location(self._template.replace("{image_id}", quote(image_id, safe="")))

    def open(
        self,
        location: Location,
        *,
        start: int = 0,
        stop: int | None = None,
        version: str | None = None,
        caller: Caller,
    ) -> Blob:
        url = self._allowed_url(location.url)
        headers = range_headers(start, stop) | _condition(version)
        response, url = self._follow(url, headers, caller)
        blob = HTTPBlob(
            response,
            url,
            start=start,
            stop=stop,
            version=version,
            version_of=_version,
            refuse=self._refuse,
            chunk_size=self._chunk_size,
        )
        blob.is_trusted = self._trusts_validators
        return blob

    def check(self) -> str:
        for url in self._allowed:
            response = self._upstream.request("GET", url, {})
            close(response)
            if response.status == 429 or response.status >= 500:
                refuse_status(response, url)
        return f"allowed_urls {', '.join(url.shown for url in self._allowed) or 'none'}"

    def close(self) -> None:
        self._upstream.close()

    def _origin_of_template(self) -> tuple[str, str, int] | None:
        if self._template is None:
            return None
        if "{image_id}" not in self._template:
            raise ConfigurationError(["url_template: must contain {image_id}"])
        try:
            return self._allowed_url(self.locate("x").url).origin
        except LocationRefused as error:
            raise ConfigurationError([f"url_template: {error}"]) from None

    def _allowed_url(self, text: str) -> Url:
        try:
            url = Url.parse(text)
        except ValueError as error:
            raise LocationRefused(f"invalid URL: {error}") from None
        return self._allow(url)

    def _allow(self, url: Url) -> Url:
        if any(url.is_below(allowed) for allowed in self._allowed):
            return url
        raise LocationRefused(f"{url.shown} is not below any of allowed_urls")

    def _follow(
        self, url: Url, headers: dict[str, str], caller: Caller
    ) -> tuple[HTTPResponse, Url]:
        """Send the request and follow redirects, as long as every URL is allowed."""
        for _ in range(_HOPS + 1):
            # Only the server that url_template names gets the caller's token.
            own = url.origin == self._own_origin
            token = token_headers(self._auth, caller) if own else {}
            response = self._upstream.request("GET", url, {**headers, **token})
            if response.status not in _REDIRECTS:
                return response, url
            close(response)
            try:
                url = self._allow(url.join(response.headers.get("Location", "")))
            except (ValueError, LocationRefused) as error:
                raise BadReply(f"{url.shown} redirects to a URL that is refused: {error}") from None
        raise BadReply(f"{url.shown}: more than {_HOPS} redirects")

    def _refuse(self, response: HTTPResponse, url: Url) -> NoReturn:
        message = f"{url.shown} answers with status {response.status}"
        if response.status in ABSENT:
            raise DataNotFound(message)
        if response.status in REFUSED and self._auth == "caller":
            raise DataForbidden(message)
        if response.status == 412:
            raise DataChanged(message)
        refuse_status(response, url)


def _prefixes(texts: Sequence[str]) -> Sequence[Url]:
    prefixes, problems = [], []
    for number, text in enumerate(texts, 1):
        try:
            prefixes.append(prefix(text))
        except ValueError as error:
            problems.append(f"allowed_urls: entry {number}: {error}")
    if problems:
        raise ConfigurationError(problems)
    return prefixes


def _condition(version: str | None) -> dict[str, str]:
    """Return headers that make a server refuse to send any other version."""
    if version is None or version.startswith(_MD5):
        return {}
    if version.startswith('"'):
        return {"If-Match": version}
    modified, _, length = version.rpartition(";")
    if not (modified and length.isdigit() and time_of(modified)):
        raise DataChanged("the version was not made by this store")
    return {"If-Unmodified-Since": modified}


def _version(response: HTTPResponse, size: int | None) -> str | None:
    """Return the version of a response's data; None if it changed too recently.

    The version is a strong ETag; or else Last-Modified and the length (RFC 9110,
    8.8); or else the MD5 of the whole data, which Glance also sends with parts.
    """
    if not has_usable_validator(response):
        return None
    etag = response.headers.get("ETag", "").strip()
    if _STRONG_ETAG.fullmatch(etag):
        return etag
    modified = response.headers.get("Last-Modified")
    if modified and size is not None:
        return f"{modified};{size}"
    md5 = response.headers.get("Content-MD5")
    return _MD5 + md5 if md5 else None
