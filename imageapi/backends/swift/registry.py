# SPDX-License-Identifier: Apache-2.0
"""Records as objects in OpenStack Swift."""

from collections.abc import Iterator, Mapping, Sequence

from oslo_config import cfg

from imageapi import document
from imageapi.backends.base import RegistryBackend
from imageapi.backends.http_client.client import read_small
from imageapi.backends.http_client.record_cache import RecordCache
from imageapi.backends.http_client.status import ABSENT, close, refuse_status
from imageapi.backends.swift.account import NO_NAME, SwiftAccount
from imageapi.backends.swift.listing import objects_in
from imageapi.backends.swift.options import (
    backend_options,
    connection_options,
    container_of,
    dependent_options,
    path_of,
)
from imageapi.backends.writing import RecordWriter
from imageapi.caller import Caller
from imageapi.errors import ImageNotFound, MalformedImage
from imageapi.image import Image, is_image_id

LARGEST_RECORD = 1024 * 1024

#: The options that are always in the backend's own section.
OWN_OPTIONS = backend_options("records. Each record is the object <object_prefix><id>.json")


class SwiftRegistry(RegistryBackend):
    """Reads the objects ``<object_prefix><id>.json`` of a container."""

    @classmethod
    def options(cls) -> Sequence[cfg.Opt]:
        return (*OWN_OPTIONS, *connection_options())

    @classmethod
    def dependent_options(cls, conf: cfg.ConfigOpts, group: str) -> Mapping[str, Sequence[cfg.Opt]]:
        return dependent_options(conf, group)

    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        self.account = SwiftAccount(conf, group, small=True)
        self._container, self._prefix = container_of(conf, group)
        self._remembered = RecordCache()

    def get(self, image_id: str, caller: Caller) -> Image:
        try:
            path = self.path(image_id)
        except ValueError:
            raise ImageNotFound("the id cannot be part of a Swift object name") from None
        # Do not accept the record of a replica that missed a change.
        headers = {"X-Newest": "true"}
        known = self._remembered.get(image_id)
        if known is not None:
            headers["If-None-Match"] = known.etag
        response, url = self.account.request("GET", path, headers)
        if response.status == 200 and (response.length_remaining or 0) > LARGEST_RECORD:
            close(response)
            raise MalformedImage(f"{url.shown}: the record is larger than {LARGEST_RECORD} bytes")
        # Read the body of any status, so that the connection can be kept.
        data = read_small(response, url, LARGEST_RECORD)
        if response.status == 304 and known is not None:
            return _image(known.found)
        if response.status in (*ABSENT, NO_NAME):
            raise ImageNotFound("no record")
        if response.status != 200:
            refuse_status(response, url)
        found = document.found(data, image_id, url.shown)
        self._remembered.replace(image_id, response.headers.get("ETag", "").strip(), found)
        return _image(found)

    def image_ids(self) -> Iterator[str]:
        for entry in objects_in(self.account, self._container, self._prefix):
            name = str(entry["name"]).removeprefix(self._prefix)
            if name.endswith(".json") and is_image_id(name.removesuffix(".json")):
                yield name.removesuffix(".json")

    def path(self, image_id: str) -> str:
        """Return the path of an image's record after the account's URL.

        :raises ValueError: no URL can have this name.
        """
        return path_of(self._container, f"{self._prefix}{image_id}.json")

    def writer(self) -> RecordWriter:
        # Not above: the writer knows this module.
        from imageapi.backends.swift.record_writer import SwiftRecordWriter

        return SwiftRecordWriter(self)

    def check(self) -> str:
        return self.account.check(self._container)

    def close(self) -> None:
        self.account.close()


def _image(found: Image | MalformedImage) -> Image:
    if isinstance(found, MalformedImage):
        raise found.again()
    return found
