# SPDX-License-Identifier: Apache-2.0
"""Data in Amazon S3, or in a server that speaks its protocol."""

import re
from collections.abc import Sequence
from functools import partial
from typing import NoReturn

from oslo_config import cfg
from urllib3.response import HTTPResponse

from imageapi.backends.base import Blob, StoreBackend
from imageapi.backends.http_client.blob import HTTPBlob, range_headers
from imageapi.backends.http_client.status import ABSENT, close
from imageapi.backends.http_client.urls import Url
from imageapi.backends.s3.client import NO_BUCKET, S3Answer, S3Client, refuse
from imageapi.backends.s3.location import SCHEMES, S3Location
from imageapi.backends.s3.options import BUCKET, CONNECTION, buckets_of
from imageapi.backends.writing import DataWriter
from imageapi.caller import Caller
from imageapi.errors import BackendError, DataChanged, DataNotFound, LocationRefused
from imageapi.image import Location

# The MD5 of the data, or any other name of it.  S3 itself sends no weak ones.
_ETAG = re.compile(r'"[\x21\x23-\x7e]+"')


class S3Store(StoreBackend):
    """Reads objects of the allowed buckets, always with the same credentials."""

    schemes = SCHEMES

    @classmethod
    def options(cls) -> Sequence[cfg.Opt]:
        return (
            BUCKET,
            cfg.ListOpt(
                "allowed_buckets",
                default=[],
                help="Buckets that locations may name, besides the option bucket.",
            ),
            cfg.IntOpt(
                "segment_size",
                default=64 * 1024**2,
                min=5 * 1024**2,
                max=1024**3,
                help="The commands that write data (add, replace, import) make a multipart upload"
                " if the data has more than this number of bytes. It is also the size of the"
                " parts, each of which they hold in memory. S3 accepts 10000 parts for each"
                " object.",
            ),
            *CONNECTION,
        )

    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        section = conf[group]
        self._allowed = buckets_of(section)
        self.bucket = self._allowed[0]
        self.client = S3Client(conf, group)
        self.segment_size: int = section.segment_size
        self._chunk_size: int = conf.imageapi.chunk_size

    def writer(self) -> DataWriter:
        # Not above: the writer knows this module.
        from imageapi.backends.s3.data_writer import S3DataWriter

        return S3DataWriter(self)

    def locate(self, image_id: str) -> Location:
        return Location(S3Location.of(self.bucket, image_id).url)

    def open(
        self,
        location: Location,
        *,
        start: int = 0,
        stop: int | None = None,
        version: str | None = None,
        caller: Caller,
    ) -> Blob:
        found = S3Location.parse(location.url)
        if found.bucket not in self._allowed:
            raise LocationRefused(
                "its bucket, the segment before the last one, is not in allowed_buckets"
            )
        headers = range_headers(start, stop) | _condition(version)
        answer = self.client.request("GET", found.bucket, found.path, headers)
        return HTTPBlob(
            answer.response,
            answer.url,
            start=start,
            stop=stop,
            version=version,
            version_of=partial(_version, version),
            refuse=partial(_refuse, answer.code),
            chunk_size=self._chunk_size,
        )

    def check(self) -> str:
        answer = self.client.request("GET", self.bucket, query="list-type=2&max-keys=1")
        close(answer.response)
        if answer.code == NO_BUCKET:
            raise BackendError(f"{answer.url.shown}: the bucket does not exist: create it")
        if answer.response.status != 200:
            refuse(answer)
        return f"bucket {self.bucket} at {answer.url.shown}"

    def close(self) -> None:
        self.client.close()


def _condition(version: str | None) -> dict[str, str]:
    """Return headers that make S3 refuse to send any other version."""
    if version is None:
        return {}
    if not _ETAG.fullmatch(version):
        raise DataChanged("the version was not made by this store")
    return {"If-Match": version}


def _version(required: str | None, response: HTTPResponse, _size: int | None) -> str | None:
    """Return the ETag.

    :param required: the version of the request: S3 sends no ETag with a 416.
    """
    etag = response.headers.get("ETag", "").strip()
    if _ETAG.fullmatch(etag):
        return etag
    return required if response.status == 416 else None


def _refuse(code: str, response: HTTPResponse, url: Url) -> NoReturn:
    if response.status in ABSENT and code != NO_BUCKET:
        raise DataNotFound(f"{url.shown} answers with status {response.status}")
    if response.status == 412:
        raise DataChanged(f"{url.shown}: the data has changed since the download began")
    refuse(S3Answer(response, url, code))
