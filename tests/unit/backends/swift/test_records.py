# SPDX-License-Identifier: Apache-2.0
from typing import cast

import pytest

from imageapi.backends.swift.account import SwiftAccount
from imageapi.backends.swift.records import LARGEST_RECORD, NEWEST, SwiftRecords
from imageapi.errors import ImageNotFound, MalformedImage
from imageapi.image import Image
from tests.unit.backends.swift.fake_swift import md5_text
from tests.unit.backends.swift.listed_swift import ListedSwift

PATH = "/records/a/1.json"


@pytest.fixture
def swift_records(listed_swift: ListedSwift) -> SwiftRecords:
    return SwiftRecords(cast("SwiftAccount", listed_swift), "records", "a/")


def test_record_has_its_etag_and_the_hash_of_its_bytes(
    swift_records: SwiftRecords, listed_swift: ListedSwift
) -> None:
    data = listed_swift.put("1", "n")
    read = swift_records.read("1", NEWEST)
    assert read is not None
    assert isinstance(read.found, Image)
    assert read.found.name == "n"
    assert read.etag == read.content_hash == md5_text(data)
    assert swift_records.read("1", {**NEWEST, "If-None-Match": read.etag}) is None


def test_quoted_etag_is_sent_back_and_its_hash_has_no_quotes(
    swift_records: SwiftRecords, listed_swift: ListedSwift
) -> None:
    data = listed_swift.put("1", "n")
    listed_swift.headers[PATH] = {"ETag": f'"{md5_text(data)}"'}
    read = swift_records.read("1", NEWEST)
    assert read is not None
    assert (read.etag, read.content_hash) == (f'"{md5_text(data)}"', md5_text(data))


@pytest.mark.parametrize("header", ["X-Object-Manifest", "X-Static-Large-Object"])
def test_hash_of_a_manifest_is_unknown(
    swift_records: SwiftRecords, listed_swift: ListedSwift, header: str
) -> None:
    listed_swift.put("1", "n")
    listed_swift.headers[PATH] = {header: "any"}
    read = swift_records.read("1", NEWEST)
    assert read is not None
    assert (bool(read.etag), read.content_hash) == (True, "")


def test_absent_record(swift_records: SwiftRecords) -> None:
    with pytest.raises(ImageNotFound):
        swift_records.read("1", NEWEST)


def test_record_that_is_too_large(swift_records: SwiftRecords, listed_swift: ListedSwift) -> None:
    listed_swift.put("1", "n")
    listed_swift.headers[PATH] = {"Content-Length": str(LARGEST_RECORD + 1)}
    with pytest.raises(MalformedImage, match="larger than 1048576 bytes"):
        swift_records.read("1", NEWEST)


def test_malformed_record_is_a_result(
    swift_records: SwiftRecords, listed_swift: ListedSwift
) -> None:
    listed_swift.objects[PATH] = b"{"
    read = swift_records.read("1", NEWEST)
    assert read is not None
    assert isinstance(read.found, MalformedImage)


def test_listing_names_only_records_and_the_hashes_that_it_has(
    swift_records: SwiftRecords, listed_swift: ListedSwift
) -> None:
    data = listed_swift.put("1", "n")
    listed_swift.put("link", "n")
    listed_swift.put("none", "n")
    listed_swift.listed.update({"a/link.json": md5_text(b""), "a/none.json": None})
    listed_swift.objects["/records/a/readme.txt"] = b"text"
    hashes = dict(swift_records.hashes())
    assert hashes == {"1": md5_text(data), "link": "", "none": ""}
