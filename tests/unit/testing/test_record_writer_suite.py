# SPDX-License-Identifier: Apache-2.0
import json
from typing import Any

from imageapi import document
from imageapi.backends.writing import RecordWriter
from imageapi.errors import ImageNotFound
from imageapi.image import Image, Location
from imageapi.testing.fakes import MemoryRegistry
from imageapi.testing.record_writer_suite import RecordWriterSuite, record_of
from imageapi.testing.suite import build
from tests.unit.testing.cases import told_by


def test_record_is_what_the_commands_write() -> None:
    image = Image(id="i", status="active", locations=(Location("x:y"),))
    assert document.parse(record_of(image), "i") == image


class TextWriter(RecordWriter):
    """Returns a text, where bytes are wanted."""

    def __init__(self, registry: MemoryRegistry) -> None:
        self.registry = registry

    def read(self, image_id: str) -> Any:
        if image_id not in self.registry._images:
            raise ImageNotFound("no record")
        return json.dumps(document.record(self.registry._images[image_id]))

    def create(self, image_id: str, record: bytes) -> None:
        self.registry.put(document.parse(record, image_id))

    def replace(self, image_id: str, old: bytes, new: bytes) -> None:
        raise NotImplementedError

    def remove(self, image_id: str, old: bytes) -> None:
        raise NotImplementedError


class TextRegistry(MemoryRegistry):
    def writer(self) -> RecordWriter | None:
        return TextWriter(self)


def test_record_must_be_bytes() -> None:
    told = told_by(
        RecordWriterSuite,
        "writer_creates_a_record",
        make_registry=lambda _: build(TextRegistry),
        put=lambda *_: None,
        make_unreachable=lambda _: None,
    )
    assert "read() must return bytes, not str" in told


def test_registry_that_is_always_reachable_passes() -> None:
    told = told_by(
        RecordWriterSuite,
        "writer_of_an_upstream_out_of_reach",
        make_registry=lambda _: build(TextRegistry),
        make_unreachable=lambda _: None,
    )
    assert told == ""
