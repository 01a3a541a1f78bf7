# SPDX-License-Identifier: Apache-2.0
"""URLs for requests, normalized, and the prefixes below which they must be.

Stricter than RFC 3986: a URL that two parsers could read differently is invalid.
No error text contains any part of a URL, because it may contain credentials.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote_to_bytes, urljoin

_PORTS = {"http": 80, "https": 443}

_URL = re.compile(r"(https?)://([^/?]*)(/[^?]*)?(?:\?(.*))?", re.IGNORECASE)
_AUTHORITY = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?")
# All except visible ASCII, and the visible characters that must be percent-encoded.
_FORBIDDEN = re.compile(r'[^\x21-\x7e]|["<>\\^`{|}]')
_PERCENT = re.compile(r"%(..)")
_NO_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_UNRESERVED = re.compile(rb"[A-Za-z0-9._~-]")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Url:
    """A normalized http: or https: URL.

    :ivar host: in lower case; an IPv6 address is in brackets.
    :ivar path: begins with a slash; unreserved characters are not percent-encoded.
    :ivar query: unchanged; it may contain a signature.
    """

    scheme: str
    host: str
    port: int
    path: str
    query: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a URL.

        :raises ValueError: it is invalid, or can be read in more than one way.
        """
        if _FORBIDDEN.search(text):
            raise ValueError("it contains a character that must be percent-encoded")
        if "#" in text:
            raise ValueError("it must not have a fragment")
        match = _URL.fullmatch(text)
        if match is None:
            raise ValueError("it is not an http: or https: URL")
        scheme, authority, path, query = match.groups()
        if query is not None and _NO_PERCENT.search(query):
            raise ValueError(
                "its query has a % without two hex digits: write %25 for a percent sign"
            )
        scheme = scheme.lower()
        host, port = _host_and_port(authority)
        return cls(scheme, host, port or _PORTS[scheme], _path(path or "/"), query)

    def join(self, reference: str) -> Self:
        """Resolve a reference in the response of this URL, such as a redirect.

        :raises ValueError: as for `parse`.
        """
        if _FORBIDDEN.search(reference):
            raise ValueError("it contains a character that must be percent-encoded")
        try:
            joined = urljoin(str(self), reference.partition("#")[0])
        except ValueError:
            raise ValueError("it is not an http: or https: URL") from None
        return self.parse(joined)

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port, which decide who may get a secret."""
        return self.scheme, self.host, self.port

    @property
    def shown(self) -> str:
        """The URL for messages to operators: without the query."""
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}{self.path}"

    def __str__(self) -> str:
        return self.shown if self.query is None else f"{self.shown}?{self.query}"

    def __repr__(self) -> str:
        return "<Url>"

    def is_below(self, prefix: "Url") -> bool:
        """Whether this is the prefix, or below it by whole segments of the path."""
        path = prefix.path.removesuffix("/")
        return self.origin == prefix.origin and (
            self.path == path or self.path.startswith(path + "/")
        )


def prefix(text: str) -> Url:
    """Parse a prefix of URLs.

    :raises ValueError: it is not a valid URL, or has a query.
    """
    url = Url.parse(text)
    if url.query is not None:
        raise ValueError("it must not have a query")
    return url


def _host_and_port(authority: str) -> tuple[str, int | None]:
    if "@" in authority:
        raise ValueError("it must not contain credentials")
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        raise ValueError("its host or port is invalid: the host must be ASCII")
    host, port = match.groups()
    if port is not None and not 0 < int(port) < 65536:
        raise ValueError("its port must be from 1 to 65535")
    return _host(host.lower()), int(port) if port else None


def _host(host: str) -> str:
    if host.startswith("["):
        try:
            return f"[{ipaddress.IPv6Address(host[1:-1])}]"
        except ValueError:
            raise ValueError("its host is not a valid IPv6 address") from None
    # A host name with a trailing dot is the same name.
    host = host.removesuffix(".")
    labels = host.split(".")
    if len(host) > 253 or not all(0 < len(label) < 64 for label in labels):
        raise ValueError("its host name is too long, or has an empty or too long label")
    return host


def _path(path: str) -> str:
    if _NO_PERCENT.search(path):
        raise ValueError("its path has a % without two hex digits: write %25 for a percent sign")
    path = _PERCENT.sub(_spell, path)
    decoded = unquote_to_bytes(path)
    if _CONTROL.search(decoded):
        raise ValueError("its path contains a control character")
    # Some servers treat an encoded slash or a backslash as a slash.  Some servers treat
    # a segment such as "..;x" as a dot segment.
    if any(one.partition(b";")[0] in (b".", b"..") for one in re.split(rb"[/\\]", decoded)):
        raise ValueError("its path contains a dot segment (. or ..)")
    return path


def _spell(match: re.Match[str]) -> str:
    byte = bytes.fromhex(match[1])
    return byte.decode() if _UNRESERVED.fullmatch(byte) else match[0].upper()
