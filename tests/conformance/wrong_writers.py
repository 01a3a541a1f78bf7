# SPDX-License-Identifier: Apache-2.0
"""Writers with one fault each, for `test_writer_suites_catch`."""

import itertools
import json
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

from oslo_config import cfg

from imageapi import document
from imageapi.backends.base import Blob
from imageapi.backends.writing import (
    DataWriter,
    HashingReader,
    Leftover,
    NewData,
    RecordExists,
    RecordWriter,
    WriteError,
)
from imageapi.caller import Caller
from imageapi.errors import BackendUnavailable, ImageNotFound, LocationRefused
from imageapi.image import Image, Location
from imageapi.testing.fakes import MemoryRegistry, MemoryStore

NOBODY = Caller()


class _Leak:
    """An open descriptor, which does not stay open for other tests."""

    def __init__(self) -> None:
        self.descriptor = os.open("/dev/null", os.O_RDONLY)

    def __del__(self) -> None:
        os.close(self.descriptor)


class MemoryRecordWriter(RecordWriter):
    """A correct writer, from which those with faults derive."""

    def __init__(self, registry: "WrittenRegistry") -> None:
        self.registry = registry

    def read(self, image_id: str) -> bytes:
        return json.dumps(document.record(self.registry.get(image_id, NOBODY))).encode()

    def create(self, image_id: str, record: bytes) -> None:
        self.registry.must_be_reachable()
        image = document.parse(record, image_id)
        with self.registry.lock:
            if image_id in self.registry.images:
                raise RecordExists("it exists already")
            self.registry.put(image)

    def replace(self, image_id: str, old: bytes, new: bytes) -> None:
        with self.registry.lock:
            self.must_be(image_id, old)
            self.registry.put(document.parse(new, image_id))

    def remove(self, image_id: str, old: bytes) -> None:
        with self.registry.lock:
            self.must_be(image_id, old)
            self.registry.remove(image_id)

    def must_be(self, image_id: str, old: bytes) -> None:
        if self.read(image_id) != old:
            raise WriteError("it was changed meanwhile: try again")


class WrittenRegistry(MemoryRegistry):
    """A registry with a writer of the class ``written_by``."""

    reachable = True
    written_by: type[RecordWriter] = MemoryRecordWriter

    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        super().__init__(conf, group)
        self.images = self._images
        self.lock = threading.Lock()
        self.leaks: list[_Leak] = []

    def must_be_reachable(self) -> None:
        if not self.reachable:
            raise BackendUnavailable("the server is down")

    def check(self) -> str:
        self.must_be_reachable()
        return super().check()

    def get(self, image_id: str, caller: Caller) -> Image:
        self.must_be_reachable()
        return super().get(image_id, caller)

    def image_ids(self) -> Iterator[str] | None:
        return iter(tuple(self.images))

    def writer(self) -> RecordWriter | None:
        written_by: Any = self.written_by
        writer: RecordWriter | None = written_by(self)
        return writer


# Writers of records.


class CreatesWithoutMembers(MemoryRecordWriter):
    def create(self, image_id: str, record: bytes) -> None:
        image = replace(document.parse(record, image_id), members=frozenset())
        super().create(image_id, json.dumps(document.record(image)).encode())


class Overwrites(MemoryRecordWriter):
    def create(self, image_id: str, record: bytes) -> None:
        self.registry.put(document.parse(record, image_id))


class RaisesFileExists(MemoryRecordWriter):
    def create(self, image_id: str, record: bytes) -> None:
        try:
            super().create(image_id, record)
        except RecordExists:
            raise FileExistsError(image_id) from None


class ReadsNothing(MemoryRecordWriter):
    def read(self, image_id: str) -> bytes:
        with suppress(ImageNotFound):
            return super().read(image_id)
        return b""


class Merges(MemoryRecordWriter):
    def replace(self, image_id: str, old: bytes, new: bytes) -> None:
        image, before = document.parse(new, image_id), document.parse(old, image_id)
        properties = {**before.properties, **image.properties}
        super().replace(
            image_id,
            old,
            json.dumps(document.record(replace(image, properties=properties))).encode(),
        )


class ComparesNothing(MemoryRecordWriter):
    def must_be(self, image_id: str, old: bytes) -> None:
        self.registry.get(image_id, NOBODY)


class ComparesNothingAtRemove(MemoryRecordWriter):
    def remove(self, image_id: str, old: bytes) -> None:
        self.registry.remove(image_id)


class RemovesAlike(MemoryRecordWriter):
    def remove(self, image_id: str, old: bytes) -> None:
        super().remove(image_id, old)
        for other in [known for known in self.registry.images if known.startswith(image_id)]:
            self.registry.remove(other)


class WritesLowerCase(MemoryRecordWriter):
    def create(self, image_id: str, record: bytes) -> None:
        super().create(image_id.lower(), record)


class LooksBeforeItCreates(MemoryRecordWriter):
    def create(self, image_id: str, record: bytes) -> None:
        if image_id in self.registry.images:
            raise RecordExists("it exists already")
        self.registry.put(document.parse(record, image_id))


class LeaksAtEachRecord(MemoryRecordWriter):
    def create(self, image_id: str, record: bytes) -> None:
        super().create(image_id, record)
        self.registry.leaks.append(_Leak())


class LeavesTemporary(MemoryRecordWriter):
    def temporary(self) -> Iterator[Leftover]:
        yield Leftover("new.tmp", 0.0, lambda: None)


class FindsNoRecordsWhenUnreachable(MemoryRecordWriter):
    def read(self, image_id: str) -> bytes:
        try:
            return super().read(image_id)
        except BackendUnavailable:
            raise ImageNotFound("no record") from None


# Stores and their writers.


class _NewMemoryData(NewData):
    def __init__(self, store: "WrittenStore", name: str, location: Location | None) -> None:
        self.store, self.name, self.location = store, name, location

    def close(self) -> None:
        if not self.is_kept:
            self.store.data.pop(self.name, None)


class MemoryDataWriter(DataWriter):
    """A correct writer, from which those with faults derive."""

    new = _NewMemoryData

    def __init__(self, store: "WrittenStore") -> None:
        self.store = store

    def put(self, image: Image, data: HashingReader, *, is_replacement: bool) -> NewData:
        self.store.must_be_reachable()
        name, location = self.name_of(image.id), None
        if is_replacement:
            name = f"{name}/{next(self.store.numbers)}"
            location = self.store.locate(name)
        chunks = []
        while chunk := data.read(1000):
            chunks.append(chunk)
        self.place(name, b"".join(chunks))
        return self.new(self.store, name, location)

    def name_of(self, image_id: str) -> str:
        return image_id

    def place(self, name: str, data: bytes) -> None:
        with self.store.lock:
            if name in self.store.data:
                raise WriteError("the data exists already")
            self.store.put(name, data)

    def left_behind(self, image_id: str) -> Location | None:
        return self.store.locate(image_id) if image_id in self.store.data else None

    def owns(self, image_id: str, location: Location) -> bool:
        return any(
            location == self.store.locate(name)
            for name in self.store.data
            if name.partition("/")[0] == image_id
        )

    def remove(self, location: Location) -> None:
        for name in list(self.store.data):
            if self.store.locate(name) == location:
                self.store.remove(name)

    def leftovers(self, used: Iterable[Location]) -> Iterator[Leftover]:
        known = set(used)
        for name in list(self.store.data):
            location = self.store.locate(name)
            if location not in known:
                yield self.leftover(name, location)

    def leftover(self, name: str, location: Location) -> Leftover:
        image_id = name.partition("/")[0]
        return Leftover(name, 0.0, lambda: self.remove(location), image_id, location)


class WrittenStore(MemoryStore):
    """A store with a writer of the class ``written_by``."""

    reachable = True
    written_by: type[DataWriter] = MemoryDataWriter

    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        super().__init__(conf, group)
        self.data = self._data
        self.lock = threading.Lock()
        self.leaks: list[_Leak] = []
        self.numbers = itertools.count(1)

    def must_be_reachable(self) -> None:
        if not self.reachable:
            raise BackendUnavailable("the server is down")

    def check(self) -> str:
        self.must_be_reachable()
        return super().check()

    def open(self, location: Location, **asked: Any) -> Blob:
        self.must_be_reachable()
        return super().open(location, **asked)

    def writer(self) -> DataWriter | None:
        written_by: Any = self.written_by
        writer: DataWriter | None = written_by(self)
        return writer


class PutsOneChunk(MemoryDataWriter):
    def put(self, image: Image, data: HashingReader, *, is_replacement: bool) -> NewData:
        self.store.put(image.id, data.read(1000))
        return self.new(self.store, image.id, None)


class _StayingData(_NewMemoryData):
    def close(self) -> None:
        pass


class KeepsDataAlways(MemoryDataWriter):
    new = _StayingData


class OverwritesData(MemoryDataWriter):
    def place(self, name: str, data: bytes) -> None:
        self.store.put(name, data)


class ReplacesInPlace(OverwritesData):
    def put(self, image: Image, data: HashingReader, *, is_replacement: bool) -> NewData:
        return super().put(image, data, is_replacement=False)


class PutsInLowerCase(OverwritesData):
    def name_of(self, image_id: str) -> str:
        return image_id.lower()


class WritesAsItReads(MemoryDataWriter):
    def put(self, image: Image, data: HashingReader, *, is_replacement: bool) -> NewData:
        self.store.put(image.id, b"")
        read = b""
        while chunk := data.read(1000):
            read += chunk
            self.store.put(image.id, read)
        return self.new(self.store, image.id, None)


class LeavesPartsBehind(MemoryDataWriter):
    def put(self, image: Image, data: HashingReader, *, is_replacement: bool) -> NewData:
        try:
            return super().put(image, data, is_replacement=is_replacement)
        except WriteError:
            raise
        except BaseException:
            self.store.put(f"{image.id}/part", b"part")
            raise


class OwnsByPrefix(MemoryDataWriter):
    def owns(self, image_id: str, location: Location) -> bool:
        return location.url.startswith(self.store.locate(image_id).url)


class OwnsOnlyFirst(MemoryDataWriter):
    def owns(self, image_id: str, location: Location) -> bool:
        return location == self.store.locate(image_id)


class OwnsNoOddURLs(MemoryDataWriter):
    def owns(self, image_id: str, location: Location) -> bool:
        if location.scheme != "memory":
            raise LocationRefused("not a memory: URL")
        return super().owns(image_id, location)


class RemovesOnce(MemoryDataWriter):
    def remove(self, location: Location) -> None:
        before = len(self.store.data)
        super().remove(location)
        if len(self.store.data) == before:
            raise WriteError("nothing is there")


class RemovesAllOfImage(MemoryDataWriter):
    def remove(self, location: Location) -> None:
        for name in list(self.store.data):
            if self.store.locate(name).url.startswith(location.url):
                self.store.remove(name)


class FindsNoLeftovers(MemoryDataWriter):
    def leftovers(self, used: Iterable[Location]) -> Iterator[Leftover]:
        return iter(())


class TakesAllForLeftovers(MemoryDataWriter):
    def leftovers(self, used: Iterable[Location]) -> Iterator[Leftover]:
        return super().leftovers(())


class FindsDataThatWasNotLeft(MemoryDataWriter):
    def left_behind(self, image_id: str) -> Location | None:
        return self.store.locate(image_id)


class LooksBeforeItPuts(MemoryDataWriter):
    def place(self, name: str, data: bytes) -> None:
        if name in self.store.data:
            raise WriteError("the data exists already")
        self.store.put(name, data)


class LeaksAtEachPut(MemoryDataWriter):
    def put(self, image: Image, data: HashingReader, *, is_replacement: bool) -> NewData:
        self.store.leaks.append(_Leak())
        return super().put(image, data, is_replacement=is_replacement)


class RaisesOSError(MemoryDataWriter):
    def put(self, image: Image, data: HashingReader, *, is_replacement: bool) -> NewData:
        try:
            return super().put(image, data, is_replacement=is_replacement)
        except BackendUnavailable:
            raise ConnectionRefusedError(111, "refused") from None
