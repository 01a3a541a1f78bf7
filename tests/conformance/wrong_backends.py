# SPDX-License-Identifier: Apache-2.0
"""Backends with one fault each, for `test_suites_catch`."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NoReturn
from uuid import uuid4

from oslo_config import cfg

from imageapi.backends.base import Blob
from imageapi.backends.file.registry import FileRegistry
from imageapi.backends.file.store import FileStore
from imageapi.caller import Caller
from imageapi.errors import (
    BackendUnavailable,
    BadReply,
    DataNotFound,
    ImageNotFound,
    LocationRefused,
    RangeNotSupported,
)
from imageapi.image import Image, Location
from imageapi.policy.base import DOWNLOAD_IMAGE, GET_IMAGE, PolicyBackend
from imageapi.testing.fakes import MemoryRegistry, MemoryStore
from imageapi.testing.suite import CHUNK_SIZE

# Lets another thread run at the point where a race does harm.
_A_MOMENT = 0.001


# Faults that any backend can have, shown with stores.


class ChecksTrue(MemoryStore):
    def check(self) -> bool:  # type: ignore[override]  # the fault
        return True


class ChecksAtLength(MemoryStore):
    def check(self) -> str:
        return "two\nlines"


class ClosesOnce(MemoryStore):
    closed = False

    def close(self) -> None:
        if self.closed:
            raise ValueError("closed already")
        self.closed = True


class OpensInConstructor(FileStore):
    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        super().__init__(conf, group)
        os.close(os.open(self.directory, os.O_RDONLY))


class StartsThreadInConstructor(FileStore):
    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        super().__init__(conf, group)
        threading.Thread(target=time.sleep, args=(0.2,), daemon=True).start()


class AsksInConstructor(FileStore):
    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        super().__init__(conf, group)
        with contextlib.suppress(OSError), socket.socket() as upstream:
            upstream.connect(("127.0.0.1", 9))


class ChecksNothing(FileStore):
    def check(self) -> str:
        return ""


class ChecksWithToken(FileStore):
    def check(self) -> str:
        try:
            return super().check()
        except BackendUnavailable as error:
            raise BackendUnavailable(f"{error}, asked with suite-token") from None


class FailsAfterFork(MemoryStore):
    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        super().__init__(conf, group)
        self._process = os.getpid()

    def open(self, location: Location, **asked: Any) -> Blob:
        if os.getpid() != self._process:
            raise BackendUnavailable("a socket that somebody else reads from")
        return super().open(location, **asked)


class DiesAfterFork(FailsAfterFork):
    def open(self, location: Location, **asked: Any) -> Blob:
        if os.getpid() != self._process:
            os._exit(3)
        return super().open(location, **asked)


# Stores that read wrong bytes.


class StartsOneLate(MemoryStore):
    def open(self, location: Location, **asked: Any) -> Blob:
        asked["start"] += asked["start"] > 0
        return super().open(location, **asked)


class StopIsInclusive(MemoryStore):
    def open(self, location: Location, **asked: Any) -> Blob:
        if asked["stop"] is not None:
            asked["stop"] += 1
        return super().open(location, **asked)


class StumblesAtBorders(MemoryStore):
    def open(self, location: Location, **asked: Any) -> Blob:
        if asked["stop"] == 2 * CHUNK_SIZE:
            asked["stop"] -= 1
        return super().open(location, **asked)


class StopMustBeInside(MemoryStore):
    def open(self, location: Location, **asked: Any) -> Blob:
        blob = super().open(location, **asked)
        if asked["stop"] is not None and asked["stop"] > (blob.total_size or 0):
            raise BadReply("416")
        return blob


class StartsInside(MemoryStore):
    def open(self, location: Location, **asked: Any) -> Blob:
        size = super().open(location, caller=asked["caller"]).total_size or 0
        asked["start"] = min(asked["start"], max(size - 1, 0))
        return super().open(location, **asked)


class TakesEmptyForMissing(MemoryStore):
    def open(self, location: Location, **asked: Any) -> Blob:
        blob = super().open(location, **asked)
        if not blob.total_size:
            raise DataNotFound("nothing was put there")
        return blob


class RefusesRanges(MemoryStore):
    def open(self, location: Location, **asked: Any) -> Blob:
        if asked["start"]:
            raise BadReply("a range")
        return super().open(location, **asked)


class ReadsRangesAllTheSame(MemoryStore):
    ranges = False


class WrappedBlob(Blob):
    """Passes everything on to another Blob; subclasses add faults."""

    def __init__(self, blob: Blob) -> None:
        self.blob = blob
        self.total_size = blob.total_size
        self.version = blob.version

    def __next__(self) -> bytes:
        return next(self.blob)

    def close(self) -> None:
        self.blob.close()


class WrappingStore(MemoryStore):
    """A store whose Blobs are wrapped."""

    wrapper: type[WrappedBlob]

    def open(self, location: Location, **asked: Any) -> Blob:
        return self.wrapper(super().open(location, **asked))


class _EarlyBlob(WrappedBlob):
    left = 3

    def __next__(self) -> bytes:
        self.left -= 1
        if self.left < 0:
            raise StopIteration
        return super().__next__()


class EndsEarly(WrappingStore):
    wrapper = _EarlyBlob


class _SkippingBlob(WrappedBlob):
    def __next__(self) -> bytes:
        if self.preferred_chunk_size > 1:
            next(self.blob)
        return super().__next__()


class SkipsWhenAskedForMore(WrappingStore):
    wrapper = _SkippingBlob


class _BytearrayBlob(WrappedBlob):
    def __next__(self) -> bytes:
        return bytearray(super().__next__())  # type: ignore[return-value]  # the fault


class GivesBytearrays(WrappingStore):
    wrapper = _BytearrayBlob


class _StrBlob(WrappedBlob):
    def __next__(self) -> bytes:
        return super().__next__().decode("latin-1")  # type: ignore[return-value]  # the fault


class GivesStr(WrappingStore):
    wrapper = _StrBlob


class _EmptyLastBlob(WrappedBlob):
    def __next__(self) -> bytes:
        return next(self.blob, b"")


class EndsWithEmptyChunks(WrappingStore):
    wrapper = _EmptyLastBlob


class _GeneratorBlob(WrappedBlob):
    def __iter__(self) -> Iterator[bytes]:  # type: ignore[override]  # the fault
        yield from self.blob


class GivesGenerators(WrappingStore):
    wrapper = _GeneratorBlob


class _RestartingBlob(WrappedBlob):
    first: bytes | None = None
    ended = False

    def __next__(self) -> bytes:
        if self.ended and self.first:
            return self.first
        try:
            chunk = super().__next__()
        except StopIteration:
            self.ended = True
            raise
        self.first = self.first or chunk
        return chunk


class StartsAgain(WrappingStore):
    wrapper = _RestartingBlob


class _ZeroBlob(WrappedBlob):
    def __init__(self, blob: Blob) -> None:
        super().__init__(blob)
        self.total_size = 0


class ZeroForUnknown(WrappingStore):
    wrapper = _ZeroBlob


class SizeOfThePart(MemoryStore):
    def open(self, location: Location, **asked: Any) -> Blob:
        blob = super().open(location, **asked)
        blob.total_size = sum(map(len, super().open(location, **asked)))
        return blob


class OneBlobForAll(MemoryStore):
    """Returns the same Blob from each open()."""

    current: Blob

    def open(self, location: Location, **asked: Any) -> Blob:
        self.current = super().open(location, **asked)
        return _OneBlob(self)


class _OneBlob(WrappedBlob):
    def __init__(self, store: OneBlobForAll) -> None:
        super().__init__(store.current)
        self.store = store

    def __next__(self) -> bytes:
        return next(self.store.current)


class SharesLocation(MemoryStore):
    def open(self, location: Location, **asked: Any) -> Blob:
        self.current = location
        time.sleep(_A_MOMENT)
        return super().open(self.current, **asked)


# Stores with faults in versions and locations.


class IgnoresVersion(MemoryStore):
    def open(self, location: Location, **asked: Any) -> Blob:
        return super().open(location, **{**asked, "version": None})


class IgnoresVersionOfParts(MemoryStore):
    def open(self, location: Location, **asked: Any) -> Blob:
        if asked["start"]:
            asked["version"] = None
        return super().open(location, **asked)


class VersionOfEachOpen(IgnoresVersion):
    def open(self, location: Location, **asked: Any) -> Blob:
        blob = super().open(location, **asked)
        blob.version = uuid4().hex
        return blob


class RemembersForEver(MemoryStore):
    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        super().__init__(conf, group)
        self._first: dict[str, tuple[bytes, str]] = {}

    def open(self, location: Location, **asked: Any) -> Blob:
        name = location.url.removeprefix("memory:")
        if name in self._data:
            self._first.setdefault(name, self._data[name])
        if name in self._first:
            self._data[name] = self._first[name]
        return super().open(location, **asked)


class OpensEachChunk(MemoryStore):
    def open(self, location: Location, **asked: Any) -> Blob:
        return _EachChunkBlob(self, location, super().open(location, **asked), asked)


class _EachChunkBlob(WrappedBlob):
    def __init__(
        self, store: OpensEachChunk, location: Location, blob: Blob, asked: Mapping[str, Any]
    ) -> None:
        super().__init__(blob)
        self.store, self.location, self.caller = store, location, asked["caller"]
        self.position: int = asked["start"]

    def __next__(self) -> bytes:
        start = self.position
        blob = MemoryStore.open(self.store, self.location, start=start, caller=self.caller)
        chunk = next(blob)
        self.position += len(chunk)
        return chunk


class OpensLate(MemoryStore):
    def open(self, location: Location, **asked: Any) -> Blob:
        return _LateBlob(self, location, asked)


class _LateBlob(Blob):
    def __init__(self, store: OpensLate, location: Location, asked: Mapping[str, Any]) -> None:
        self.total_size = self.version = None
        self._open: Callable[[], Blob] = lambda: MemoryStore.open(store, location, **asked)
        self._blob: Blob | None = None

    def __next__(self) -> bytes:
        self._blob = self._blob or self._open()
        return next(self._blob)

    def close(self) -> None:
        self._open = self._closed

    def _closed(self) -> NoReturn:
        raise BackendUnavailable("closed")


class RaisesKeyError(MemoryStore):
    def open(self, location: Location, **asked: Any) -> Blob:
        try:
            return super().open(location, **asked)
        except DataNotFound:
            raise KeyError(location.url) from None


class RefusesMissing(MemoryStore):
    def open(self, location: Location, **asked: Any) -> Blob:
        try:
            return super().open(location, **asked)
        except DataNotFound:
            raise LocationRefused("nothing was put there") from None


class ComparesSchemeExactly(MemoryStore):
    def open(self, location: Location, **asked: Any) -> Blob:
        if not location.url.startswith("memory:"):
            raise LocationRefused("not a memory: URL")
        return super().open(location, **asked)


class IgnoresScheme(MemoryStore):
    def open(self, location: Location, **asked: Any) -> Blob:
        path = location.url.rpartition(":")[2]
        return super().open(Location(f"memory:{path}"), **asked)


class ParsesCarelessly(MemoryStore):
    def open(self, location: Location, **asked: Any) -> Blob:
        location.url.encode()
        return super().open(location, **asked)


class LocatesUnencoded(MemoryStore):
    def locate(self, image_id: str) -> Location:
        return Location(f"memory:{image_id}")


class FindsByPrefix(MemoryStore):
    def open(self, location: Location, **asked: Any) -> Blob:
        name = location.url.removeprefix("memory:")
        found = [known for known in self._data if known and name.startswith(known)]
        return super().open(self.locate(found[0]) if found else location, **asked)


class StumblesAtNul(MemoryStore):
    def open(self, location: Location, **asked: Any) -> Blob:
        if "\0" in location.url:
            raise ValueError("embedded null byte")
        return super().open(location, **asked)


class RefusesRangesUntold(MemoryStore):
    def open(self, location: Location, **asked: Any) -> Blob:
        if asked["start"] or asked["stop"] is not None:
            raise RangeNotSupported("only the whole")
        return super().open(location, **asked)


class TellsTokenWhenUnreachable(FileStore):
    def open(self, location: Location, **asked: Any) -> Blob:
        try:
            return super().open(location, **asked)
        except BackendUnavailable:
            raise BackendUnavailable(f"GET /x?token={asked['caller'].token}") from None


class LocatesInLowerCase(MemoryStore):
    def locate(self, image_id: str) -> Location:
        return super().locate(image_id.lower())


class TellsLocations(MemoryStore):
    def open(self, location: Location, **asked: Any) -> Blob:
        try:
            return super().open(location, **asked)
        except DataNotFound:
            raise DataNotFound(f"nothing lies at {location.url}") from None


class TellsToken(MemoryStore):
    def open(self, location: Location, **asked: Any) -> Blob:
        try:
            return super().open(location, **asked)
        except DataNotFound:
            raise DataNotFound(f"not found with {asked['caller'].token}") from None


class TakesUnreachableForMissing(FileStore):
    def open(self, location: Location, **asked: Any) -> Blob:
        try:
            return super().open(location, **asked)
        except BackendUnavailable as error:
            raise DataNotFound(str(error)) from None


# Stores with faults in close().


class _NeedsChunkBlob(WrappedBlob):
    begun = False

    def __next__(self) -> bytes:
        self.begun = True
        return super().__next__()

    def close(self) -> None:
        if not self.begun:
            raise RuntimeError("nothing was read yet")
        super().close()


class ClosesOnlyWhatWasBegun(WrappingStore):
    wrapper = _NeedsChunkBlob


class _ClosesOnceBlob(WrappedBlob):
    closed = False

    def close(self) -> None:
        if self.closed:
            raise ValueError("closed already")
        self.closed = True
        super().close()


class ClosesBlobsOnce(WrappingStore):
    wrapper = _ClosesOnceBlob


class LeavesRestInPool(MemoryStore):
    """The data that was not read before close() is what the next Blob reads."""

    rest = b""

    def open(self, location: Location, **asked: Any) -> Blob:
        return _PooledBlob(self, super().open(location, **asked))


class _PooledBlob(WrappedBlob):
    def __init__(self, store: LeavesRestInPool, blob: Blob) -> None:
        super().__init__(blob)
        self.store = store
        self.first, store.rest = store.rest, b""

    def __next__(self) -> bytes:
        first, self.first = self.first, b""
        return first or super().__next__()

    def close(self) -> None:
        self.store.rest = self.store.rest or next(self.blob, b"")
        super().close()


class _DeafBlob(WrappedBlob):
    def close(self) -> None:
        pass


class ReadsOnAfterClose(WrappingStore):
    wrapper = _DeafBlob


class _SurprisedBlob(WrappedBlob):
    closed = False

    def __next__(self) -> bytes:
        if self.closed:
            raise ValueError("I/O operation on closed file")
        return super().__next__()

    def close(self) -> None:
        self.closed = True
        super().close()


class RaisesValueErrorAfterClose(WrappingStore):
    wrapper = _SurprisedBlob


class _LeakingBlob(WrappedBlob):
    def __init__(self, blob: Blob) -> None:
        super().__init__(blob)
        # The garbage collector closes it later, so that it does not stay open for other tests.
        self.pipe = open("/dev/null", "rb", buffering=0)  # noqa: SIM115 - it is to leak

    def __next__(self) -> bytes:
        try:
            return super().__next__()
        except StopIteration:
            self.pipe.close()
            raise

    def __del__(self) -> None:
        self.pipe.close()


class ClosesOnlyAtTheEnd(WrappingStore):
    wrapper = _LeakingBlob


# Registries.


class ForgetsMinRam(MemoryRegistry):
    def put(self, image: Image) -> None:
        super().put(Image(**{**vars(image), "min_ram": 0}))


class _Altering(MemoryRegistry):
    """Returns other values than were put."""

    def get(self, image_id: str, caller: Caller) -> Image:
        return self.altered(super().get(image_id, caller))

    def altered(self, image: Image) -> Image:
        raise NotImplementedError


class ForgetsDeleted(_Altering):
    def altered(self, image: Image) -> Image:
        return replace(image, deleted=False)


class KnowsOnlyActive(_Altering):
    def altered(self, image: Image) -> Image:
        return replace(image, status="active")


class TakesZeroForUnknown(_Altering):
    def altered(self, image: Image) -> Image:
        return replace(image, size=image.size or None)


class LowersPropertyNames(_Altering):
    def altered(self, image: Image) -> Image:
        return replace(image, properties={k.lower(): v for k, v in image.properties.items()})


class WritesPropertiesAsTexts(_Altering):
    def altered(self, image: Image) -> Image:
        return replace(image, properties={k: str(v) for k, v in image.properties.items()})


class InventsNames(MemoryRegistry):
    def put(self, image: Image) -> None:
        super().put(Image(**{**vars(image), "name": image.name or ""}))


class InventsImages(MemoryRegistry):
    def get(self, image_id: str, caller: Caller) -> Image:
        try:
            return super().get(image_id, caller)
        except ImageNotFound:
            return Image(id=image_id, status="deleted")


class RaisesLookupError(MemoryRegistry):
    def get(self, image_id: str, caller: Caller) -> Image:
        try:
            return super().get(image_id, caller)
        except ImageNotFound:
            raise LookupError(image_id) from None


class ReturnsNone(MemoryRegistry):
    def get(self, image_id: str, caller: Caller) -> Image:
        return self._images.get(image_id)  # type: ignore[return-value]  # the fault


class StripsIds(MemoryRegistry):
    def get(self, image_id: str, caller: Caller) -> Image:
        return super().get(image_id.strip(), caller)


class IgnoresCase(MemoryRegistry):
    def get(self, image_id: str, caller: Caller) -> Image:
        return super().get(image_id.lower(), caller)


class KnowsOnlyAscii(MemoryRegistry):
    def get(self, image_id: str, caller: Caller) -> Image:
        image_id.encode("ascii")
        return super().get(image_id, caller)


class CutsIds(MemoryRegistry):
    def put(self, image: Image) -> None:
        self._images[image.id.partition("?")[0]] = image

    def get(self, image_id: str, caller: Caller) -> Image:
        return super().get(image_id.partition("?")[0], caller)


class RemembersImages(MemoryRegistry):
    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        super().__init__(conf, group)
        self._known: dict[str, Image] = {}

    def get(self, image_id: str, caller: Caller) -> Image:
        if image_id not in self._known:
            self._known[image_id] = super().get(image_id, caller)
        return self._known[image_id]


class RemembersAbsence(MemoryRegistry):
    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        super().__init__(conf, group)
        self._absent: set[str] = set()

    def get(self, image_id: str, caller: Caller) -> Image:
        if image_id in self._absent or image_id not in self._images:
            self._absent.add(image_id)
            raise ImageNotFound("no record")
        return super().get(image_id, caller)


class HidesPrivateImages(MemoryRegistry):
    def get(self, image_id: str, caller: Caller) -> Image:
        image = super().get(image_id, caller)
        if image.is_public or image.owner == caller.project_id:
            return image
        raise ImageNotFound("not yours")


class TakesUnreachableForUnknown(FileRegistry):
    def get(self, image_id: str, caller: Caller) -> Image:
        try:
            return super().get(image_id, caller)
        except BackendUnavailable:
            raise ImageNotFound("no record") from None


class LeaksOnUnknown(MemoryRegistry):
    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        super().__init__(conf, group)
        self._kept: list[int] = []

    def get(self, image_id: str, caller: Caller) -> Image:
        if image_id not in self._images:
            self._kept.append(os.open("/dev/null", os.O_RDONLY))
        return super().get(image_id, caller)

    def close(self) -> None:
        while self._kept:
            os.close(self._kept.pop())


class SharesId(MemoryRegistry):
    def get(self, image_id: str, caller: Caller) -> Image:
        self.current = image_id
        time.sleep(_A_MOMENT)
        return super().get(self.current, caller)


class RegistryFailsAfterFork(MemoryRegistry):
    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        super().__init__(conf, group)
        self._process = os.getpid()

    def get(self, image_id: str, caller: Caller) -> Image:
        if os.getpid() != self._process:
            raise BackendUnavailable("a socket that somebody else reads from")
        return super().get(image_id, caller)


class TellsCallersToken(MemoryRegistry):
    def get(self, image_id: str, caller: Caller) -> Image:
        try:
            return super().get(image_id, caller)
        except ImageNotFound:
            raise ImageNotFound(f"not found with token {caller.token}") from None


# Policies.


class DenyAll(PolicyBackend):
    """A correct policy, from which those with faults derive."""

    reachable = True

    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        self._process = os.getpid()

    def allows(self, action: str, caller: Caller, target: Mapping[str, object]) -> bool:
        return False

    def check(self) -> str:
        if not self.reachable:
            raise BackendUnavailable("nobody there")
        return ""


class SaysNone(DenyAll):
    def allows(self, action: str, caller: Caller, target: Mapping[str, object]) -> bool:
        return None  # type: ignore[return-value]  # the fault


class SaysOne(DenyAll):
    def allows(self, action: str, caller: Caller, target: Mapping[str, object]) -> bool:
        return 1  # type: ignore[return-value]  # the fault


class WantsOwner(DenyAll):
    def allows(self, action: str, caller: Caller, target: Mapping[str, object]) -> bool:
        return target["owner"] == caller.project_id


class WantsUser(DenyAll):
    def allows(self, action: str, caller: Caller, target: Mapping[str, object]) -> bool:
        return caller.user_id.startswith("suite")  # type: ignore[union-attr]  # the fault


class SaysWhyToAdmins(DenyAll):
    def allows(self, action: str, caller: Caller, target: Mapping[str, object]) -> bool:
        return caller.is_admin and "an admin may"  # type: ignore[return-value]  # the fault


class AllowsTheUnknown(DenyAll):
    def allows(self, action: str, caller: Caller, target: Mapping[str, object]) -> bool:
        return action not in (GET_IMAGE, DOWNLOAD_IMAGE)


class AddsToTarget(DenyAll):
    def allows(self, action: str, caller: Caller, target: Mapping[str, object]) -> bool:
        inner = target.get("list")
        if isinstance(inner, list):
            inner.append("seen")
        return False


class SaysYesOnce(DenyAll):
    seen = 0

    def allows(self, action: str, caller: Caller, target: Mapping[str, object]) -> bool:
        self.seen += 1
        return self.seen == 1


class AllowsWhenUnreachable(DenyAll):
    def allows(self, action: str, caller: Caller, target: Mapping[str, object]) -> bool:
        return not self.reachable


class LeaksOnEachQuestion(DenyAll):
    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        self._kept: list[int] = []

    def allows(self, action: str, caller: Caller, target: Mapping[str, object]) -> bool:
        self._kept.append(os.open("/dev/null", os.O_RDONLY))
        return False

    def close(self) -> None:
        while self._kept:
            os.close(self._kept.pop())


class SharesCaller(DenyAll):
    def allows(self, action: str, caller: Caller, target: Mapping[str, object]) -> bool:
        self.current = caller
        time.sleep(_A_MOMENT)
        return self.current.is_admin


class PolicyFailsAfterFork(DenyAll):
    def allows(self, action: str, caller: Caller, target: Mapping[str, object]) -> bool:
        if os.getpid() != self._process:
            raise BackendUnavailable("a socket that somebody else reads from")
        return False


class RemembersCaller(DenyAll):
    last: Caller | None = None

    def allows(self, action: str, caller: Caller, target: Mapping[str, object]) -> bool:
        self.last = caller
        return False

    def __repr__(self) -> str:
        return f"<policy, last asked with {self.last.token if self.last else None}>"
