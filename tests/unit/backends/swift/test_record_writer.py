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
def swift_writer(
    memory_swift: FakeSwift, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RecordWriter]:
    registry = build(SwiftRegistry, container="records", **NOWHERE)
    monkeypatch.setattr(registry.account, "request", memory_swift.request)
    yield registry.writer()
    registry.close()


def test_new_record(memory_swift: FakeSwift, swift_writer: RecordWriter) -> None:
    swift_writer.create("i", b"record")
    assert memory_swift.objects == {PATH: b"record"}
    assert memory_swift.requests[0] == (f"PUT {PATH}", {"If-None-Match": "*"})
    assert swift_writer.read("i") == b"record"


def test_record_that_exists_is_not_replaced_by_a_new_one(
    memory_swift: FakeSwift, swift_writer: RecordWriter
) -> None:
    memory_swift.objects[PATH] = b"theirs"
    with pytest.raises(WriteError, match="it exists already"):
        swift_writer.create("i", b"ours")
    assert memory_swift.objects == {PATH: b"theirs"}


def test_changed_record(memory_swift: FakeSwift, swift_writer: RecordWriter) -> None:
    memory_swift.objects[PATH] = b"old"
    swift_writer.replace("i", b"old", b"new")
    assert memory_swift.objects == {PATH: b"new"}
    swift_writer.remove("i", b"new")
    assert memory_swift.objects == {}


@pytest.mark.parametrize(("change", "more"), [("replace", [b"new"]), ("remove", [])])
def test_record_that_somebody_else_has_changed_stays(
    memory_swift: FakeSwift, swift_writer: RecordWriter, change: str, more: list[bytes]
) -> None:
    memory_swift.objects[PATH] = b"theirs"
    with pytest.raises(WriteError, match="was changed meanwhile"):
        getattr(swift_writer, change)("i", b"old", *more)
    assert memory_swift.objects == {PATH: b"theirs"}


def test_record_that_somebody_else_writes_at_the_same_moment(
    memory_swift: FakeSwift, swift_writer: RecordWriter
) -> None:
    memory_swift.before[f"GET {PATH}"] = lambda: memory_swift.objects.update({PATH: b"theirs"})
    with pytest.raises(WriteError, match="at the same moment"):
        swift_writer.create("i", b"ours")


@pytest.mark.parametrize(
    ("status", "error", "told"),
    [
        (404, ImageNotFound, "no record"),
        (401, WriteError, "credentials are required"),
        (403, WriteError, "no permission"),
    ],
)
def test_record_that_cannot_be_read(
    memory_swift: FakeSwift,
    swift_writer: RecordWriter,
    status: int,
    error: type[Exception],
    told: str,
) -> None:
    memory_swift.answers[("GET", PATH)] = response(status)
    with pytest.raises(error, match=told):
        swift_writer.read("i")
