# SPDX-License-Identifier: Apache-2.0
"""An open snapshot of an RBD image, whose bytes are only returned while they are certain."""

import contextlib
import ctypes
import threading
from typing import Any

from imageapi.backends.rbd.cluster import Connection
from imageapi.backends.rbd.location import RBDLocation
from imageapi.errors import BackendUnavailable, DataChanged, DataNotFound, LocationRefused

# RBD_PROTECTION_STATUS_PROTECTED of librbd.
_PROTECTED = b"\x02"


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
        if not self._is_protected():
            raise LocationRefused(
                f"{self._name} is not protected, so its data could vanish while it is read:"
                f" run rbd snap protect {self._name}"
            )

    def read(self, offset: int, length: int) -> bytes:
        """Return that many bytes.

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
                data: bytes = self._image.read(offset, length)
                if not self._is_protected():
                    raise DataChanged(f"{self._name} was removed, or is no longer protected")
        if self._is_closed:
            # Another thread has closed this during the read, and left the rest to this one.
            self.close()
        if len(data) != length:
            raise BackendUnavailable(f"{self._name}: {len(data)} of {length} bytes were read")
        return data

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

    def _is_protected(self) -> bool:
        """Ask the cluster, not librbd: it remembers what it read when it opened the image."""
        argument = self._snapshot_id.to_bytes(8, "little")
        try:
            _, status = self._pool.execute(self._header, "rbd", "get_protection_status", argument)
        except self._bindings.rados.ObjectNotFound:
            return False
        return bool(status == _PROTECTED)


def _no_pool(name: str) -> BackendUnavailable:
    return BackendUnavailable(f"the Ceph cluster has no pool {name!r}")
