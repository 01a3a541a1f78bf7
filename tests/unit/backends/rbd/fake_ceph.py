# SPDX-License-Identifier: Apache-2.0
"""Stands for Ceph's bindings where they are missing: one cluster, with one image."""

import errno
from collections.abc import Callable
from types import ModuleType, TracebackType
from typing import Any, Self

from imageapi.backends.rbd.operation import End

DATA = bytes(range(250))
FSID = "4fb5c7a4-0000-4000-8000-000000000000"

URL = f"rbd://{FSID}/images/i/snap"


class FakeError(Exception):
    """The base of the errors of both modules."""

    def __init__(self, message: str, number: int = 0) -> None:
        self.errno = number
        super().__init__(message)


class FakeObjectNotFound(FakeError):
    """The pool or the object does not exist."""


class FakeImageNotFound(FakeError):
    """The image or the snapshot does not exist."""


class FakeCeph:
    """A cluster.  A test changes what it has.

    :ivar connected: the arguments of each connection.
    :ivar open: what is open: connections, pools and images.
    :ivar status: what the image's header says of the snapshot.
    :ivar error: what connecting or opening the image raises.
    :ivar read_code: a negative number of an error of each read.
    :ivar status_code: the same for each question for the status.
    :ivar reads: offset and length of each read.
    """

    def __init__(self) -> None:
        self.connected: list[dict[str, Any]] = []
        self.open: list[object] = []
        self.pools = {"images"}
        self.images = {("i", "snap")}
        self.status: bytes | None = b"\x02"
        self.error: Exception | None = None
        self.read_code = self.status_code = 0
        self.reads: list[tuple[int, int]] = []
        self.data = DATA
        self.read: Callable[[int, int], bytes] = lambda start, length: self.data[start:][:length]
        self.rados = ModuleType("rados")
        self.rbd = ModuleType("rbd")
        vars(self.rados).update(
            Error=FakeError, ObjectNotFound=FakeObjectNotFound, Rados=self._opener(FakeHandle)
        )
        vars(self.rbd).update(
            Error=FakeError, ImageNotFound=FakeImageNotFound, Image=self._opener(FakeImage)
        )

    def _opener(self, kind: Any) -> Any:
        return lambda *arguments, **named: kind(self, *arguments, **named)

    def fail(self) -> None:
        """Raise the error, if there is one."""
        if self.error is not None:
            raise self.error


class Opened:
    """Something that is open until it is closed once."""

    def __init__(self, ceph: FakeCeph) -> None:
        self.ceph = ceph
        ceph.open.append(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.ceph.open.remove(self)


class FakeHandle(Opened):
    """A ``rados.Rados``."""

    def __init__(self, ceph: FakeCeph, **arguments: Any) -> None:
        super().__init__(ceph)
        self._arguments = arguments

    def connect(self) -> None:
        self.ceph.connected.append(self._arguments)
        self.ceph.fail()

    def shutdown(self) -> None:
        self.close()

    def get_fsid(self) -> str:
        return FSID

    def pool_exists(self, name: str) -> bool:
        return name in self.ceph.pools

    def open_ioctx(self, name: str) -> "FakePool":
        if name not in self.ceph.pools:
            raise FakeObjectNotFound("no such pool", errno.ENOENT)
        return FakePool(self.ceph)


class FakePool(Opened):
    """A ``rados.Ioctx``."""

    def get_pool_id(self) -> int:
        return 7

    def stat(self, _key: str) -> None:
        raise FakeObjectNotFound("no such object", errno.ENOENT)

    def aio_execute(
        self, key: str, cls: str, method: str, data: bytes, length: int, end: End
    ) -> "FakeCompletion":
        wanted = ("rbd_header.id", "rbd", "get_protection_status", b"\x05" + bytes(7))
        assert (key, cls, method, data) == wanted
        assert length == 1
        if self.ceph.status is None:
            return FakeCompletion(end, None, -errno.ENOENT)
        return FakeCompletion(end, self.ceph.status, self.ceph.status_code)


class FakeCompletion:
    """A completion; what it completes is done when someone waits for it."""

    def __init__(self, end: End, data: bytes | None, code: int) -> None:
        self._end = end
        self._data = data
        self._code = code

    def wait_for_complete_and_cb(self) -> None:
        self._end(self, None if self._code < 0 else self._data)

    def get_return_value(self) -> int:
        return self._code


class FakeImage(Opened):
    """A ``rbd.Image``."""

    def __init__(
        self, ceph: FakeCeph, pool: FakePool, name: str, *, snapshot: str, read_only: bool
    ) -> None:
        ceph.fail()
        if (name, snapshot) not in ceph.images:
            raise FakeImageNotFound("no such image", errno.ENOENT)
        assert read_only
        super().__init__(ceph)

    def id(self) -> str:
        return "id"

    def size(self) -> int:
        return len(self.ceph.data)

    def snap_get_id(self, _name: str) -> int:
        return 5

    def aio_read(self, offset: int, length: int, end: End) -> FakeCompletion:
        self.ceph.reads.append((offset, length))
        data = self.ceph.read(offset, length)
        return FakeCompletion(end, data, self.ceph.read_code or len(data))
