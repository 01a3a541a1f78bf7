# SPDX-License-Identifier: Apache-2.0
"""Data in Ceph RBD: protected snapshots, as Glance makes them."""

import contextlib
from collections.abc import Sequence
from time import monotonic

from oslo_config import cfg

from imageapi.backends.base import Blob, StoreBackend
from imageapi.backends.rbd.cluster import Cluster
from imageapi.backends.rbd.location import SCHEME, RBDLocation
from imageapi.backends.rbd.snapshot import Snapshot
from imageapi.caller import Caller
from imageapi.errors import DataChanged, LocationRefused
from imageapi.image import Location

# The least that one read returns, in bytes.  Each read takes two round trips, also a small one.
_CHUNK = 256 * 1024
_CHUNK_OF_FAST_CLIENT = 2 * 1024 * 1024

# A WSGI server does not say how fast a client is.  A client is fast if so many bytes were passed
# on without a pause of so many seconds: more than the system's buffers for a connection contain.
_BYTES_OF_FAST_CLIENT = 16 * 1024 * 1024
_PAUSE = 0.1

# Ceph's own options take whole seconds only.
_LONGEST = 86400


class RBDStore(StoreBackend):
    """Reads protected snapshots in the allowed pools of one Ceph cluster."""

    schemes = frozenset({SCHEME})

    @classmethod
    def options(cls) -> Sequence[cfg.Opt]:
        return (
            cfg.StrOpt(
                "ceph_conf",
                default="/etc/ceph/ceph.conf",
                help="The path of Ceph's configuration file. It names the monitors and the"
                " keyring. Glance calls this option rbd_store_ceph_conf.",
            ),
            cfg.StrOpt(
                "user",
                default="admin",
                help="The Ceph user, without 'client.'. Create one that may only read: see"
                " docs/rbd.md. Glance calls this option rbd_store_user.",
            ),
            cfg.StrOpt(
                "pool",
                default="images",
                help="The pool of the images. The data of a record without a location is the"
                " snapshot 'snap' of the image <id> in this pool. Glance calls this option"
                " rbd_store_pool.",
            ),
            cfg.ListOpt(
                "allowed_pools",
                default=[],
                help="Pools that locations may name, besides the option pool.",
            ),
            cfg.IntOpt(
                "connect_timeout",
                default=5,
                min=1,
                max=_LONGEST,
                help="Timeout in seconds for connecting to the cluster. Glance calls this option"
                " rados_connect_timeout.",
            ),
            cfg.IntOpt(
                "operation_timeout",
                default=30,
                min=1,
                max=_LONGEST,
                help="Timeout in seconds for each operation of the cluster. It sets Ceph's options"
                " rados_osd_op_timeout and rados_mon_op_timeout, which are unlimited by default.",
            ),
        )

    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        section = conf[group]
        self._pool: str = section.pool
        self._allowed: Sequence[str] = [self._pool, *section.allowed_pools]
        self._chunk_size: int = conf.imageapi.chunk_size
        self._cluster = Cluster(
            section.ceph_conf, section.user, section.connect_timeout, section.operation_timeout
        )

    def locate(self, image_id: str) -> Location:
        return Location(RBDLocation(None, None, image_id).url)

    def open(
        self,
        location: Location,
        *,
        start: int = 0,
        stop: int | None = None,
        version: str | None = None,
        caller: Caller,
    ) -> Blob:
        parsed = RBDLocation.parse(location.url)
        pool = self._pool if parsed.pool is None else parsed.pool
        if pool not in self._allowed:
            raise LocationRefused("its pool is not in allowed_pools")
        connection = self._cluster.connect()
        if parsed.fsid not in (None, connection.fsid):
            connection.release()
            raise LocationRefused(f"its fsid is not {connection.fsid}, that of the Ceph cluster")
        snapshot = Snapshot(connection, parsed, pool)
        if version not in (None, snapshot.version):
            snapshot.close()
            raise DataChanged(f"{pool}/{parsed.image} has changed since the download began")
        return RBDBlob(snapshot, start, stop, self._chunk_size)

    def check(self) -> str:
        connection = self._cluster.connect()
        bindings = self._cluster.bindings
        try:
            for name in self._allowed:
                with (
                    bindings.translated_errors(f"pool {name} of Ceph cluster {connection.fsid}"),
                    connection.handle.open_ioctx(name) as pool,
                    # A pool has this object since its first image.
                    contextlib.suppress(bindings.rados.ObjectNotFound),
                ):
                    pool.stat("rbd_directory")
        finally:
            connection.release()
        return f"pool {', '.join(self._allowed)} of Ceph cluster {connection.fsid}"

    def close(self) -> None:
        self._cluster.close()


class RBDBlob(Blob):
    """The bytes of a snapshot, which the Blob owns."""

    total_size: int

    def __init__(self, snapshot: Snapshot, start: int, stop: int | None, chunk_size: int) -> None:
        """Take over an open snapshot."""
        self._snapshot = snapshot
        self.total_size = snapshot.size
        self.version = snapshot.version
        self._position = start
        self._stop = snapshot.size if stop is None else min(stop, snapshot.size)
        self._chunk_size = chunk_size
        # How many bytes were passed on without a pause, and when this returned the last of them.
        self._without_pause = 0
        self._returned = 0.0

    def __next__(self) -> bytes:
        if monotonic() - self._returned > _PAUSE:
            self._without_pause = 0
        is_fast = self.preferred_chunk_size or self._without_pause >= _BYTES_OF_FAST_CLIENT
        least = _CHUNK_OF_FAST_CLIENT if is_fast else _CHUNK
        wanted = max(self._chunk_size, self.preferred_chunk_size, least)
        length = min(wanted, self._stop - self._position)
        if length <= 0:
            raise StopIteration
        ahead = min(wanted, self._stop - self._position - length) if is_fast else 0
        chunk = self._snapshot.read(self._position, length, ahead)
        self._position += len(chunk)
        self._without_pause += len(chunk)
        self._returned = monotonic()
        return chunk

    def close(self) -> None:
        self._snapshot.close()

    def __del__(self) -> None:
        # For servers that drop a response without closing it.
        self.close()
