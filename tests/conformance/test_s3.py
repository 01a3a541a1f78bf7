# SPDX-License-Identifier: Apache-2.0
"""The S3 store passes the conformance suite, with the S3 that a real Swift speaks."""

import itertools
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import testtools

from imageapi.backends.http_client import retries
from imageapi.backends.s3.location import S3Location
from imageapi.backends.s3.store import S3Store
from imageapi.image import Location
from imageapi.testing.data_writer_suite import DataWriterSuite
from imageapi.testing.store_suite import StoreSuite
from imageapi.testing.suite import build
from tests.conformance.test_swift import damage_newest_object
from tests.functional.s3 import s3_options
from tests.functional.servers import free_port
from tests.functional.swift import KEY, Swift, running_swift, upload_slo

NUMBERS = itertools.count(1)


@pytest.fixture(scope="module", autouse=True)
def s3_of_suites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with (
        pytest.MonkeyPatch.context() as patch,
        running_swift(tmp_path_factory.mktemp("swift")) as server,
    ):
        patch.setattr(retries, "time", SimpleNamespace(sleep=lambda _: None))
        S3StoreSuite.swift = server
        yield


class S3StoreSuite(StoreSuite, mixin=True):
    swift: Swift
    secrets = (KEY,)
    moments = 8

    def make_store(self) -> S3Store:
        self.bucket = f"case-{next(NUMBERS)}"
        self.client = self.swift.client()
        self.addCleanup(self.client.close)
        self.client.put_container(self.bucket)
        return build(S3Store, bucket=self.bucket, **s3_options(self.swift))

    def put(self, data: bytes) -> Location:
        location = self.store.locate(f"number {next(NUMBERS)}")
        self.replace(location, data)
        return location

    def make_unreachable(self) -> tuple[S3Store, Location]:
        url = f"http://127.0.0.1:{free_port()}"
        store = build(S3Store, bucket="any", **s3_options(self.swift, endpoint_url=url))
        return store, store.locate("any")

    def replace(self, location: Location, data: bytes) -> None:
        self.client.put_object(self.bucket, self.key_of(location), data)

    def remove(self, location: Location) -> None:
        self.client.delete_object(self.bucket, self.key_of(location))

    def put_at(self, location: Location, data: bytes) -> None:
        self.replace(location, data)

    def forbidden(self) -> Iterator[Location]:
        other = f"{self.bucket}-other"
        self.client.put_container(other)
        self.client.put_object(other, "secret", b"not for clients")
        for path in (f"{other}/secret", f"{self.bucket}/../{other}/secret"):
            yield Location(f"s3://{path}")
        yield Location(f"s3://{self.bucket}/..%2F{other}%2Fsecret")
        yield Location(f"s3+https://key:secret@host/{other}/secret")

    def key_of(self, location: Location) -> str:
        return S3Location.parse(location.url).key


class TestObjects(DataWriterSuite, S3StoreSuite, testtools.TestCase):
    def damage(self, location: Location) -> None:
        damage_newest_object(self.swift)


class TestMultipartObjects(DataWriterSuite, S3StoreSuite, testtools.TestCase):
    """Swift's S3 makes a static large object of a multipart upload."""

    def make_store(self) -> S3Store:
        store = super().make_store()
        # So that the writer uploads the little data of the cases in parts.
        store.segment_size = self.chunk_size
        return store

    def replace(self, location: Location, data: bytes) -> None:
        if data:
            half = (len(data) + 1) // 2
            segments = [one for one in (data[:half], data[half:]) if one]
            upload_slo(self.client, self.bucket, self.key_of(location), segments)
        else:
            super().replace(location, data)

    def damage(self, location: Location) -> None:
        """Remove a part: Swift then sends a body that is too short."""
        name = f"{self.key_of(location)}/slo/00000001"
        self.client.delete_object(f"{self.bucket}_segments", name)
