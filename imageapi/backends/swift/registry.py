# SPDX-License-Identifier: Apache-2.0
"""Records as objects in OpenStack Swift."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from functools import partial
from typing import cast

from oslo_config import cfg

from imageapi.backends.base import RegistryBackend
from imageapi.backends.http_client.options import RECORD_TTL
from imageapi.backends.http_client.record_cache import CachedRecord, Found, RecordCache
from imageapi.backends.listing import ListQuery
from imageapi.backends.listing_index import ListEntry, entry_of, images_of
from imageapi.backends.swift.account import SwiftAccount
from imageapi.backends.swift.options import (
    backend_options,
    connection_options,
    container_of,
    dependent_options,
    upstream_settings,
)
from imageapi.backends.swift.record_index import RecordIndex
from imageapi.backends.swift.records import NEWEST, SwiftRecords
from imageapi.backends.swift.workers import Workers
from imageapi.backends.writing import RecordWriter
from imageapi.caller import Caller
from imageapi.errors import ImageNotFound, MalformedImage
from imageapi.image import Image

# How many records are requested at the same time, by all lists together.
_MOST_WORKERS = 8

#: The options that are always in the backend's own section.
OWN_OPTIONS = (
    *backend_options("records. Each record is the object <object_prefix><id>.json"),
    RECORD_TTL,
)


class SwiftRegistry(RegistryBackend):
    """Reads the objects ``<object_prefix><id>.json`` of a container."""

    can_list = True

    @classmethod
    def options(cls) -> Sequence[cfg.Opt]:
        return (*OWN_OPTIONS, *connection_options())

    @classmethod
    def dependent_options(cls, conf: cfg.ConfigOpts, group: str) -> Mapping[str, Sequence[cfg.Opt]]:
        return dependent_options(conf, group)

    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        self.account = SwiftAccount(conf, group, small=True)
        self._container, prefix = container_of(conf, group)
        self._records = SwiftRecords(self.account, self._container, prefix)
        self._remembered = RecordCache(conf[group].record_ttl)
        self._workers = Workers(min(_MOST_WORKERS, upstream_settings(conf, group).pool_size))
        self._index = RecordIndex(self._records, self._workers)

    def get(self, image_id: str, caller: Caller) -> Image:
        found = self._remembered.fresh(image_id)
        return self.get_newest(image_id, caller) if found is None else _image(found)

    def get_newest(self, image_id: str, caller: Caller) -> Image:
        headers = dict(NEWEST)
        known = self._remembered.known(image_id)
        if known is not None:
            headers["If-None-Match"] = known.etag
        asked = self._remembered.now()
        try:
            record = self._records.read(image_id, headers)
        except ImageNotFound:
            self._remembered.expire(image_id)
            raise
        if record is not None:
            self._remembered.replace(image_id, record.etag, record.found, asked)
            return _image(record.found)
        # Only a conditional request has no record.
        unchanged = cast("CachedRecord", known)
        self._remembered.renew(image_id, unchanged, asked)
        return _image(unchanged.found)

    def list(self, query: ListQuery, caller: Caller) -> Generator[Image, None, None]:
        def read(entries: Sequence[ListEntry]) -> Iterator[Image | None]:
            return self._workers.each(partial(self._listed, caller=caller), entries)

        yield from images_of(self._index.select(query), query, read)

    def image_ids(self) -> Iterator[str]:
        return (image_id for image_id, _ in self._records.hashes())

    def path(self, image_id: str) -> str:
        """Return the path of an image's record after the account's URL.

        :raises ValueError: no URL can have this name.
        """
        return self._records.path(image_id)

    def writer(self) -> RecordWriter:
        # Not above: the writer knows this module.
        from imageapi.backends.swift.record_writer import SwiftRecordWriter

        return SwiftRecordWriter(self)

    def check(self) -> str:
        return self.account.check(self._container)

    def close(self) -> None:
        self._workers.close()
        self._index.clear()
        self.account.close()

    def _listed(self, entry: ListEntry, caller: Caller) -> Image | None:
        """Return the image of an entry, as it is now; None if a list must leave it out."""
        try:
            image = self.get_newest(entry.id, caller)
        except ImageNotFound:
            return None
        except MalformedImage as error:
            self._index.forget(entry.id)
            self._index.warn(entry.id, str(error), error)
            return None
        if entry_of(image) != entry:
            self._index.forget(entry.id)
        return image


def _image(found: Found) -> Image:
    if isinstance(found, MalformedImage):
        raise found.again()
    return found
