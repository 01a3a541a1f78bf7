# SPDX-License-Identifier: Apache-2.0
"""Locations of snapshots in Ceph RBD, as Glance writes them."""

import re
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

from imageapi.errors import LocationRefused

SCHEME = "rbd"

#: The snapshot that Glance makes of each image.
GLANCE_SNAPSHOT = "snap"

_NO_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


class RBDLocation(NamedTuple):
    """The location of a snapshot.

    :ivar fsid: the id of the Ceph cluster; None for the cluster of the configuration.
    :ivar pool: None for the pool of the configuration.
    """

    fsid: str | None
    pool: str | None
    image: str
    snapshot: str = GLANCE_SNAPSHOT

    @classmethod
    def parse(cls, url: str) -> "RBDLocation":
        """Parse ``rbd://FSID/POOL/IMAGE/SNAP`` or ``rbd://IMAGE``.

        The short form means the snapshot `GLANCE_SNAPSHOT` in the configured pool.

        :raises LocationRefused: the URL is neither.
        """
        scheme, separator, rest = url.partition("://")
        if scheme.lower() != SCHEME or not separator:
            raise LocationRefused("not an RBD location: write rbd://FSID/POOL/IMAGE/SNAP")
        if "?" in rest or "#" in rest or _NO_PERCENT.search(rest):
            raise LocationRefused(
                "an RBD location must have no query or fragment: write %3F, %23 and %25"
            )
        segments = [_decoded(segment) for segment in rest.split("/")]
        if not all(segments) or len(segments) not in (1, 4):
            raise LocationRefused(
                "an RBD location must be rbd://FSID/POOL/IMAGE/SNAP without empty segments,"
                " or rbd://IMAGE"
            )
        if len(segments) == 1:
            return cls(None, None, segments[0])
        fsid, pool, image, snapshot = segments
        return cls(fsid, pool, image, snapshot)

    @property
    def url(self) -> str:
        """The location as a URL."""
        if self.fsid is None or self.pool is None:
            return f"{SCHEME}://{quote(self.image, safe='')}"
        path = "/".join(quote(segment, safe="") for segment in (self.fsid, *self[1:]) if segment)
        return f"{SCHEME}://{path}"


def _decoded(text: str) -> str:
    try:
        decoded = unquote_to_bytes(text).decode()
    except UnicodeError:
        raise LocationRefused("an RBD location must be UTF-8") from None
    if "\0" in decoded:
        raise LocationRefused("an RBD location must have no %00")
    return decoded
