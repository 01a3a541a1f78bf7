# SPDX-License-Identifier: Apache-2.0
"""Data in OpenStack Swift: plain objects, static and dynamic large objects."""

import re
from collections.abc import Mapping, Sequence
from typing import NoReturn

from oslo_config import cfg
from urllib3.response import HTTPResponse

from imageapi.backends.base import Blob, StoreBackend
from imageapi.backends.http_client.blob import HTTPBlob, range_headers
from imageapi.backends.http_client.status import ABSENT, refuse_status
from imageapi.backends.http_client.urls import Url
from imageapi.backends.swift.account import NO_NAME, SwiftAccount
from imageapi.backends.swift.location import SCHEMES, SwiftLocation
from imageapi.backends.swift.options import (
    backend_options,
    connection_options,
    container_of,
    dependent_options,
)
from imageapi.backends.writing import DataWriter
from imageapi.caller import Caller
from imageapi.errors import DataChanged, DataNotFound, LocationRefused
from imageapi.image import Location

# Swift sends it unquoted for plain objects, quoted for large ones.
_ETAG = re.compile(r'"?([0-9A-Za-z-]+)"?')
_VERSION = re.compile(r"([0-9A-Za-z-]+) [0-9.]+")

#: The options that are always in the backend's own section.
OWN_OPTIONS = (
    *backend_options(
        "data. The data of a record without a location is the object <object_prefix><id>"
    ),
    cfg.ListOpt(
        "allowed_containers",
        default=[],
        help="Containers that locations may name, besides the option container. A name that"
        " ends in * stands for all containers that begin with the text before it; * alone for"
        " all containers that the user may read.",
    ),
    cfg.IntOpt(
        "segment_size",
        default=1024**3,
        min=1024**2,
        max=5 * 1024**3,
        help="The commands that write data (add, replace, import) upload a static large object"
        " if the data has more than this number of bytes. It is also the size of the segments. By"
        " default Swift accepts 1000 segments for each object.",
    ),
)


class SwiftStore(StoreBackend):
    """Reads objects of the allowed containers, always as the same user."""

    schemes = SCHEMES

    @classmethod
    def options(cls) -> Sequence[cfg.Opt]:
        return (*OWN_OPTIONS, *connection_options())

    @classmethod
    def dependent_options(cls, conf: cfg.ConfigOpts, group: str) -> Mapping[str, Sequence[cfg.Opt]]:
        return dependent_options(conf, group)

    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        section = conf[group]
        self.account = SwiftAccount(conf, group)
        self.segment_size: int = section.segment_size
        self.container, self.prefix = container_of(conf, group)
        self._allowed: Sequence[str] = [self.container, *section.allowed_containers]
        self._chunk_size: int = conf.imageapi.chunk_size

    def writer(self) -> DataWriter:
        # Not above: the writer knows this module.
        from imageapi.backends.swift.data_writer import SwiftDataWriter

        return SwiftDataWriter(self)

    def locate(self, image_id: str) -> Location:
        return Location(self.location_of(image_id).url)

    def location_of(self, name: str) -> SwiftLocation:
        """Return the location of an object in the store's container, with its prefix.

        :raises LocationRefused: the name is not valid in Swift.
        """
        return SwiftLocation.of(self.container, self.prefix + name)

    def open(
        self,
        location: Location,
        *,
        start: int = 0,
        stop: int | None = None,
        version: str | None = None,
        caller: Caller,
    ) -> Blob:
        path = self._allowed_path(location)
        headers = range_headers(start, stop) | _condition(version)
        response, url = self.account.request("GET", path, headers)
        blob = HTTPBlob(
            response,
            url,
            start=start,
            stop=stop,
            version=version,
            version_of=_version,
            refuse=_refuse if version is None else _refuse_version,
            chunk_size=self._chunk_size,
        )
        # Swift looks up each segment only when it reaches it, and sends its current data.
        blob.is_settled = "X-Object-Manifest" not in response.headers
        return blob

    def check(self) -> str:
        return self.account.check(self.container)

    def close(self) -> None:
        self.account.close()

    def _allowed_path(self, location: Location) -> str:
        container, _, path = SwiftLocation.parse(location.url)
        for allowed in self._allowed:
            if container == allowed or (
                allowed.endswith("*") and container.startswith(allowed[:-1])
            ):
                return path
        raise LocationRefused("its container is not in allowed_containers")


def _condition(version: str | None) -> dict[str, str]:
    """Return headers that make Swift refuse to send any other version."""
    if version is None:
        return {}
    match = _VERSION.fullmatch(version)
    if match is None:
        raise DataChanged("the version was not made by this store")
    return {"If-Match": f'"{match[1]}"'}


def _version(response: HTTPResponse, _size: int | None) -> str | None:
    """Return the version: the MD5 of the bytes, or of the segments' MD5s, and the time."""
    etag = _ETAG.fullmatch(response.headers.get("ETag", "").strip())
    version = f"{etag[1] if etag else ''} {response.headers.get('X-Timestamp', '')}"
    return version if _VERSION.fullmatch(version) else None


def _refuse(response: HTTPResponse, url: Url) -> NoReturn:
    if response.status in (*ABSENT, NO_NAME):
        raise DataNotFound(f"{url.shown} answers with status {response.status}")
    refuse_status(response, url)


def _refuse_version(response: HTTPResponse, url: Url) -> NoReturn:
    if response.status == 412:
        raise DataChanged(f"{url.shown}: the data has changed since the download began")
    _refuse(response, url)
