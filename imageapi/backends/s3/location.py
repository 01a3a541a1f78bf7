# SPDX-License-Identifier: Apache-2.0
"""Locations of data in S3: those of imageapi, and those that Glance has written.

No error text contains any part of a location, because it may contain credentials.
"""

import re
from typing import NamedTuple, Self
from urllib.parse import quote, unquote_to_bytes

from imageapi.backends.http_client.urls import Url
from imageapi.errors import LocationRefused

SCHEMES = frozenset({"s3", "s3+http", "s3+https"})

_NO_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
# A name that is one label, or some labels, of a host.
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_LONGEST_KEY = 1024


class S3Location(NamedTuple):
    """The location of an object.

    :ivar path: the path of the object after the bucket's URL.
    """

    bucket: str
    key: str
    path: str

    @classmethod
    def of(cls, bucket: str, key: str) -> Self:
        """Return the location of an object.

        :raises LocationRefused: S3 or a URL cannot have this name.
        """
        if not is_bucket(bucket):
            raise LocationRefused("not a valid bucket name")
        try:
            path = Url.parse(f"http://x/{quote(key, safe='/')}").path
        except ValueError as error:
            raise LocationRefused(f"not a valid S3 key: {error}") from None
        if len(key.encode()) > _LONGEST_KEY:
            raise LocationRefused(f"an S3 key has at most {_LONGEST_KEY} bytes")
        return cls(bucket, key, path)

    @classmethod
    def parse(cls, url: str) -> Self:
        """Parse ``s3://BUCKET/KEY``, or a location of glance_store.

        Only the last two segments are used.  The configuration decides on the server
        and the credentials.  A slash in a key is written as ``%2F``.

        :raises LocationRefused: the URL is neither.
        """
        scheme, separator, rest = url.partition("://")
        if scheme.lower() not in SCHEMES or not separator:
            raise LocationRefused("not an S3 location: write s3://BUCKET/KEY")
        if "?" in rest or "#" in rest or _NO_PERCENT.search(rest):
            raise LocationRefused(
                "an S3 location must have no query or fragment: write %3F, %23 and %25"
            )
        *_, bucket, key = ["", *rest.split("/")]
        if not bucket or not key:
            raise LocationRefused("an S3 location must end in /BUCKET/KEY")
        return cls.of(_decoded(bucket), _decoded(key))

    @property
    def url(self) -> str:
        """The location as an ``s3:`` URL."""
        return f"s3://{self.bucket}/{quote(self.key, safe='')}"


def is_bucket(name: str) -> bool:
    """Whether a bucket can have this name."""
    return bool(_BUCKET.fullmatch(name)) and ".." not in name


def _decoded(text: str) -> str:
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeError:
        raise LocationRefused("an S3 location must be UTF-8") from None
