# SPDX-License-Identifier: Apache-2.0
"""An open snapshot of an RBD image, whose bytes are only returned while they are certain."""

import contextlib
import ctypes
import errno
import threading
from functools import partial
from typing import Any, NamedTuple

from imageapi.backends.rbd.cluster import Connection
from imageapi.backends.rbd.location import RBDLocation
from imageapi.backends.rbd.operation import Operation
from imageapi.errors import BackendUnavailable, DataChanged, DataNotFound, LocationRefused

# RBD_PROTECTION_STATUS_PROTECTED of librbd.
_PROTECTED = b"\x02"


class _Reading(NamedTuple):
    """A read that has begun."""

    offset: int
    length: int
    operation: Operation


class Snapshot:
    """A snapshot, open for reading.

    librbd reads zeros, without an error, where the data of a removed image was.  So after each
    read, the image's header in the cluster must still say that the snapshot is protected.  A
    protected snapshot cannot be removed, and its data cannot change.

    :ivar size: in bytes.
    :ivar version: a name of its bytes.
    """

    def __init__(self, connection: Connection, location: RBDLocation, pool: str) -> None:
        """Take over a retained connection, also if this raises.

        :param pool: the pool that the location names, or the configured one.
        :raises DataNotFound: there is no such image or snapshot.
        :raises LocationRefused: the snapshot is not protected.
        :raises BackendUnavailable: there is no such pool, or the cluster does not answer.
        :raises BadReply: the cluster refuses the user.
        """
        self._connection = connection
        self._bindings = connection.bindings
        self._name = f"{pool}/{location.image}@{location.snapshot}"
        self._lock = threading.Lock()
        self._is_closed = False
        self._ahead: _Reading | None = None
        self._opened = contextlib.ExitStack()
        self._opened.callback(connection.release)
        try:
            with self._bindings.translated_errors(self._name):
                self._open(location, pool)
        except BaseException:
            self.close()
            raise

    def _open(self, location: RBDLocation, pool: str) -> None:
        rados, rbd = self._bindings
        try:
            self._pool = self._connection.handle.open_ioctx(pool)
        except rados.ObjectNotFound:
            raise _no_pool(pool) from None
        self._own(self._pool)
        try:
            self._image = rbd.Image(
                self._pool, location.image, snapshot=location.snapshot, read_only=True
            )
        except rbd.ImageNotFound:
            # The pool was looked up in a map of the cluster that may have been old.
            if not self._connection.handle.pool_exists(pool):
                raise _no_pool(pool) from None
            raise DataNotFound(f"{self._name}: no such image or snapshot") from None
        self._own(self._image)
        image_id, self._snapshot_id = self._image.id(), self._image.snap_get_id(location.snapshot)
        self._header = f"rbd_header.{image_id}"
        self.size: int = self._image.size()
        self.version = f"{self._pool.get_pool_id()} {image_id} {self._snapshot_id}"
        if not self._is_protected(self._begin_to_ask_status()):
            raise LocationRefused(
                f"{self._name} is not protected, so its data could vanish while it is read:"
                f" run rbd snap protect {self._name}"
            )

    def read(self, offset: int, length: int, ahead: int = 0) -> bytes:
        """Return bytes that begin at an offset: what was read ahead, or else `length` bytes.

        :param ahead: read so many bytes after them while the caller uses these.
        :raises DataChanged: the snapshot was removed, or may be removed.
        :raises BackendUnavailable: the cluster does not answer, or this is closed.
        :raises BadReply: the cluster refuses the user.
        """
        if self._connection.is_inherited:
            raise BackendUnavailable(f"{self._name} was opened before a fork")
        with self._lock:
            if self._is_closed:
                raise BackendUnavailable(f"{self._name} is closed")
            with self._bindings.translated_errors(self._name):
                reading, self._ahead = self._ahead, None
                if reading is None or reading.offset != offset:
                    reading = self._begin_to_read(offset, length)
                data = reading.operation.result()
                status = self._begin_to_ask_status()
                if ahead:
                    self._ahead = self._begin_to_read(offset + len(data), ahead)
                if not self._is_protected(status):
                    raise DataChanged(f"{self._name} was removed, or is no longer protected")
        if self._is_closed:
            # Another thread has closed this during the read, and left the rest to this one.
            self.close()
        if len(data) != reading.length:
            message = f"{len(data)} of {reading.length} bytes were read"
            raise BackendUnavailable(f"{self._name}: {message}")
        return data

    def _begin_to_read(self, offset: int, length: int) -> _Reading:
        operation = Operation(partial(self._image.aio_read, offset, length), self._bindings)
        return _Reading(offset, length, operation)

    def _begin_to_ask_status(self) -> Operation:
        """Ask the cluster, not librbd: it remembers what it read when it opened the image."""
        argument = self._snapshot_id.to_bytes(8, "little")
        call = (self._header, "rbd", "get_protection_status", argument, 1)
        return Operation(partial(self._pool.aio_execute, *call), self._bindings)

    def _is_protected(self, status: Operation) -> bool:
        try:
            return status.result() == _PROTECTED
        except self._bindings.rados.Error as error:
            if error.errno != errno.ENOENT:
                raise
            return False

    def close(self) -> None:
        """Close the image, or let the thread that reads do it.  May be called repeatedly."""
        self._is_closed = True
        if not self._connection.is_inherited and self._lock.acquire(blocking=False):
            try:
                # What fails here was closed nevertheless.
                with contextlib.suppress(self._bindings.rados.Error, self._bindings.rbd.Error):
                    self._opened.close()
            finally:
                self._lock.release()

    def _own(self, opened: Any) -> None:
        """Close this with the snapshot, and never otherwise.

        The bindings close what is collected as garbage.  In a process that was forked meanwhile,
        that would wait for ever, so the object gets a reference that only closing takes back.
        """
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(opened))
        self._opened.callback(ctypes.pythonapi.Py_DecRef, ctypes.py_object(opened))
        self._opened.callback(opened.close)


def _no_pool(name: str) -> BackendUnavailable:
    return BackendUnavailable(f"the Ceph cluster has no pool {name!r}")
