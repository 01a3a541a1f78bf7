# SPDX-License-Identifier: Apache-2.0
"""Test cases for every registry with a writer (see `imageapi.testing.suite`).

A subclass of `RecordWriterSuite` defines the same methods as one of `RegistrySuite`.
One class can have both suites::

    class TestMyRegistry(RecordWriterSuite, RegistrySuite, testtools.TestCase):
        ...
"""

import json
from dataclasses import replace
from functools import partial

from imageapi import document
from imageapi.backends.base import RegistryBackend
from imageapi.backends.writing import RecordWriter, WriteError
from imageapi.errors import ImageNotFound
from imageapi.image import Image
from imageapi.testing.concurrency import Act
from imageapi.testing.registry_hooks import RegistryHooks
from imageapi.testing.writing import ALIKE_IDS, WritingHelpers

_UNCHANGED = "(first compare the record with `old`)"


class RecordWriterSuite(WritingHelpers, RegistryHooks, mixin=True):
    """The methods that the author defines are those of `RegistryHooks`."""

    # Helpers of the cases.

    def writer_of(self, registry: RegistryBackend) -> RecordWriter:
        writer: object = self.works("writer()", registry.writer)
        kind = type(writer).__name__
        if not isinstance(writer, RecordWriter):
            self.fail(f"writer() of the registry must return a RecordWriter, not {kind}")
        return writer

    def created(self, image: Image) -> RecordWriter:
        """Create a record; return the writer."""
        writer = self.writer_of(self.registry)
        act = partial(writer.create, image.id, record_of(image))
        self.writes(f"create({image.id!a:.40}, ...)", act)
        return writer

    def read(self, writer: RecordWriter, image_id: str) -> bytes:
        record = self.writes(f"read({image_id!a:.40})", partial(writer.read, image_id))
        kind = type(record).__name__
        self.must(isinstance(record, bytes), f"read() must return bytes, not {kind}")
        return record

    def is_there(self, writer: RecordWriter, image: Image, when: str) -> None:
        """Fail unless the registry and the writer have exactly this record."""
        what = f"get({image.id!a:.40}) {when}"
        get = partial(self.registry.get_newest, image.id, self.caller)
        self.same(image, self.works(what, get), what)
        read = document.parse(self.read(writer, image.id), image.id)
        self.same(image, read, f"read({image.id!a:.40}) {when}")

    def is_absent(self, writer: RecordWriter, image_id: str, when: str) -> None:
        """Fail unless neither the registry nor the writer has such a record."""
        get = partial(self.registry.get_newest, image_id, self.caller)
        self.refused(f"get({image_id!a:.40}) {when}", get, ImageNotFound)
        read = partial(writer.read, image_id)
        self.writes_not(f"read({image_id!a:.40}) {when}", read, ImageNotFound)

    # The cases.

    def test_writer_creates_a_record(self) -> None:
        image = self.variant("suite", 1)
        writer = self.created(image)
        self.is_there(writer, image, "after create()")
        ids = self.works("image_ids()", self.registry.image_ids)
        what = "image_ids() must yield the id of a record that was created, or return None"
        self.must(ids is None or list(ids) == ["suite"], what)

    def test_writer_creates_no_record_twice(self) -> None:
        image = self.variant("suite", 1)
        writer = self.created(image)
        act = partial(writer.create, "suite", record_of(self.variant("suite", 2)))
        self.writes_not("create() of a record that exists", act, WriteError)
        self.is_there(writer, image, "after create() of a record that exists")

    def test_writer_reads_only_records_that_exist(self) -> None:
        self.is_absent(self.writer_of(self.registry), "suite", "of an unknown image")

    def test_writer_replaces_a_record(self) -> None:
        first = self.variant("suite", 1)
        writer = self.created(first)
        least = replace(first, properties={}, locations=(), members=frozenset())
        for image in (self.variant("suite", 2), least, first):
            old = self.read(writer, "suite")
            self.writes("replace()", partial(writer.replace, "suite", old, record_of(image)))
            self.is_there(writer, image, "after replace()")

    def test_writer_replaces_only_what_is_unchanged(self) -> None:
        image, new = self.variant("suite", 1), record_of(self.variant("suite", 3))
        writer = self.created(image)
        stale = record_of(self.variant("suite", 2))
        act = partial(writer.replace, "suite", stale, new)
        self.writes_not(f"replace() of a changed record {_UNCHANGED}", act, WriteError)
        self.is_there(writer, image, "after replace() was refused")
        act = partial(writer.replace, "other", stale, new)
        self.writes_not(f"replace() of a record that is not there {_UNCHANGED}", act)
        self.is_absent(writer, "other", "after replace() was refused")

    def test_writer_removes_a_record(self) -> None:
        image, other = self.variant("suite", 1), self.variant("suite2", 2)
        self.created(other)
        writer = self.created(image)
        self.writes("remove()", partial(writer.remove, "suite", self.read(writer, "suite")))
        self.is_absent(writer, "suite", "after remove()")
        self.is_there(writer, other, "after another record was removed")
        self.created(image)
        self.is_there(writer, image, "after it was removed and created again")

    def test_writer_removes_only_what_is_unchanged(self) -> None:
        image = self.variant("suite", 1)
        writer = self.created(image)
        act = partial(writer.remove, "suite", record_of(self.variant("suite", 2)))
        self.writes_not(f"remove() of a changed record {_UNCHANGED}", act, WriteError)
        self.is_there(writer, image, "after remove() was refused")

    def test_writer_takes_no_ids_for_the_same(self) -> None:
        ids = filter(self.can_have, ALIKE_IDS)
        images = [self.variant(image_id, number) for number, image_id in enumerate(ids)]
        for image in images:
            writer = self.created(image)
        for image in images:
            self.is_there(writer, image, "after records of similar ids were created")

    def test_writer_creates_once_in_two_threads(self) -> None:
        numbers = iter(range(10**6))
        writer = self.writer_of(self.registry)

        def prepare() -> tuple[Act, Act]:
            image_id = f"suite-{next(numbers)}"
            both = [self.variant(image_id, number) for number in (1, 2)]
            done: list[Image] = []

            def create(image: Image) -> None:
                act = partial(writer.create, image_id, record_of(image))
                if not isinstance(self.attempted("create() in two threads", act), WriteError):
                    done.append(image)
                mend = "create() of one record in two threads must work only once"
                self.must(len(done) <= 1, f"{mend}: create it exclusively, as O_EXCL does")
                for winner in done:
                    self.is_there(writer, winner, "after two threads created it")

            return partial(create, both[0]), partial(create, both[1])

        self.interleaved(prepare, "two threads may use the writer at once")

    def test_writer_leaves_nothing_open(self) -> None:
        image = self.variant("suite", 1)

        def write() -> None:
            writer = self.created(image)
            self.attempted("create()", partial(writer.create, "suite", record_of(image)))
            self.writes("remove()", partial(writer.remove, "suite", self.read(writer, "suite")))

        write()
        self.leaks_nothing("create(), read() and remove()", write)
        left = self.writes("temporary()", lambda: list(self.writer_of(self.registry).temporary()))
        self.must(not left, f"create() and remove() left {len(left)} temporary things: remove them")

    def test_writer_of_an_upstream_out_of_reach(self) -> None:
        registry = self.make_unreachable()
        if registry is None:
            return
        writer = self.writer_of(self.closed_later(registry))
        record = record_of(self.variant("suite", 1))
        for what, act in (
            ("read()", partial(writer.read, "suite")),
            ("create()", partial(writer.create, "suite", record)),
            ("replace()", partial(writer.replace, "suite", record, record)),
            ("remove()", partial(writer.remove, "suite", record)),
        ):
            error = self.writes_not(f"{what} with an unreachable upstream", act)
            mend = f"{what} with an unreachable upstream must not say that the record is missing"
            self.must(not isinstance(error, ImageNotFound), mend)


def record_of(image: Image) -> bytes:
    """Return the record of an image, as the commands give it to a writer."""
    return json.dumps(document.record(image)).encode()
