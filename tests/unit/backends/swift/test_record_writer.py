# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator

import pytest

from imageapi.backends.swift.registry import SwiftRegistry
from imageapi.backends.writing import RecordWriter, WriteError
from imageapi.errors import ImageNotFound
from imageapi.testing.suite import build
from tests.unit.backends.swift.fake_swift import NOWHERE, FakeSwift
from tests.unit.backends.upstream import response

PATH = "/records/i.json"


@pytest.fixture
def swift() -> FakeSwift:
    return FakeSwift()


@pytest.fixture
def writer(swift: FakeSwift, monkeypatch: pytest.MonkeyPatch) -> Iterator[RecordWriter]:
    registry = build(SwiftRegistry, container="records", **NOWHERE)
    monkeypatch.setattr(registry.account, "request", swift.request)
    yield registry.writer()
    registry.close()


def test_new_record(swift: FakeSwift, writer: RecordWriter) -> None:
    writer.create("i", b"record")
    assert swift.objects == {PATH: b"record"}
    assert swift.requests[0] == (f"PUT {PATH}", {"If-None-Match": "*"})
    assert writer.read("i") == b"record"


def test_record_that_exists_is_not_replaced_by_a_new_one(
    swift: FakeSwift, writer: RecordWriter
) -> None:
    swift.objects[PATH] = b"theirs"
    with pytest.raises(WriteError, match="it exists already"):
        writer.create("i", b"ours")
    assert swift.objects == {PATH: b"theirs"}


def test_changed_record(swift: FakeSwift, writer: RecordWriter) -> None:
    swift.objects[PATH] = b"old"
    writer.replace("i", b"old", b"new")
    assert swift.objects == {PATH: b"new"}
    writer.remove("i", b"new")
    assert swift.objects == {}


@pytest.mark.parametrize(("change", "more"), [("replace", [b"new"]), ("remove", [])])
def test_record_that_somebody_else_has_changed_stays(
    swift: FakeSwift, writer: RecordWriter, change: str, more: list[bytes]
) -> None:
    swift.objects[PATH] = b"theirs"
    with pytest.raises(WriteError, match="was changed meanwhile"):
        getattr(writer, change)("i", b"old", *more)
    assert swift.objects == {PATH: b"theirs"}


def test_record_that_somebody_else_writes_at_the_same_moment(
    swift: FakeSwift, writer: RecordWriter
) -> None:
    swift.before[f"GET {PATH}"] = lambda: swift.objects.update({PATH: b"theirs"})
    with pytest.raises(WriteError, match="at the same moment"):
        writer.create("i", b"ours")


@pytest.mark.parametrize(
    ("status", "error", "told"),
    [
        (404, ImageNotFound, "no record"),
        (401, WriteError, "credentials are required"),
        (403, WriteError, "no permission"),
    ],
)
def test_record_that_cannot_be_read(
    swift: FakeSwift, writer: RecordWriter, status: int, error: type[Exception], told: str
) -> None:
    swift.answers[("GET", PATH)] = response(status)
    with pytest.raises(error, match=told):
        writer.read("i")
