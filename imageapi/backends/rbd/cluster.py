# SPDX-License-Identifier: Apache-2.0
"""The connection to a Ceph cluster: one for each process, shared by its threads."""

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Iterator
from time import monotonic
from types import ModuleType
from typing import Any, NamedTuple

from imageapi.errors import (
    BackendError,
    BackendUnavailable,
    BadReply,
    ConfigurationError,
    DataNotFound,
)

_REFUSED = (errno.EPERM, errno.EACCES)


class Bindings(NamedTuple):
    """Ceph's own modules, which PyPI does not have."""

    rados: ModuleType
    rbd: ModuleType

    @classmethod
    def load(cls) -> "Bindings":
        """Import the modules.

        :raises ConfigurationError: this Python cannot import them.
        """
        try:
            import rados
            import rbd
        except ImportError as error:
            message = (
                f"Ceph's Python bindings cannot be imported: {error}; install the operating"
                " system's package python3-rbd, and make it visible to this Python (docs/rbd.md)"
            )
            raise ConfigurationError([message]) from None
        return cls(rados, rbd)

    @contextlib.contextmanager
    def translated_errors(self, what: str) -> Iterator[None]:
        """Turn each error of the bindings into a `BackendError`.

        :param what: what was tried, for the message.
        :raises DataNotFound: the name is longer than the OSD allows, so nothing can have it.
        :raises BadReply: the cluster refuses the user.
        :raises BackendUnavailable: for all other errors.
        """
        try:
            yield
        except (self.rados.Error, self.rbd.Error) as error:
            message = f"{what}: {error}"
            number = getattr(error, "errno", None)
            if number == errno.ENAMETOOLONG:
                raise DataNotFound(message) from None
            if number in _REFUSED:
                raise BadReply(f"{message}; check the capabilities of the user") from None
            raise BackendUnavailable(message) from None


class Connection:
    """A connection.  The last of those who have retained it shuts it down.

    :ivar handle: the ``rados.Rados``.
    :ivar fsid: the id of the cluster.
    """

    def __init__(self, handle: Any, fsid: str, bindings: Bindings) -> None:
        """Take over a connected handle; the creator has retained it."""
        self.handle = handle
        self.fsid = fsid
        self.bindings = bindings
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._users = 1

    @property
    def is_inherited(self) -> bool:
        """Whether it was made before a fork.  Then this process must not touch it.

        Its threads do not exist here, so closing anything of it would wait for ever.
        """
        return self._process != os.getpid()

    def retain(self) -> "Connection":
        """Return it, for one more user."""
        with self._lock:
            self._users += 1
        return self

    def release(self) -> None:
        """Shut it down after its last user."""
        with self._lock:
            self._users -= 1
            is_unused = not self._users
        if is_unused:
            self.handle.shutdown()


class Cluster:
    """Connects to a cluster when it is first needed, in each process.

    A connection that was made before a fork is kept and not used, because it cannot be closed.
    """

    def __init__(
        self, ceph_conf: str, user: str, connect_timeout: int, operation_timeout: int
    ) -> None:
        """Connect to nothing yet.

        :param ceph_conf: the path of Ceph's configuration file.
        :param user: the name of the user, without ``client.``.
        :param connect_timeout, operation_timeout: seconds.
        :raises ConfigurationError: Ceph's bindings are missing.
        """
        self.bindings = Bindings.load()
        self.user = user
        self._ceph_conf = ceph_conf
        self._settings = {
            "client_mount_timeout": str(connect_timeout),
            "rados_mon_op_timeout": str(operation_timeout),
            "rados_osd_op_timeout": str(operation_timeout),
            # Each byte is read once.  librbd's cache takes up to 32 MiB for each open image.
            "rbd_cache": "false",
        }
        self._of_processes: dict[int, _Shared] = {}

    def connect(self) -> Connection:
        """Return the connection of this process, retained for the caller.

        :raises BackendUnavailable: the cluster is unreachable.
        :raises BadReply: the cluster refuses the user.
        """
        # Not one lock for all processes: another thread may hold it during a fork.
        shared = self._of_processes.setdefault(os.getpid(), _Shared())
        return shared.retained(self._connect)

    def close(self) -> None:
        """Give up the connection.  It is shut down when no image is open."""
        shared = self._of_processes.get(os.getpid())
        if shared is not None:
            shared.close()

    def _connect(self) -> Connection:
        what = f"Ceph cluster of {self._ceph_conf}"
        with self.bindings.translated_errors(what):
            handle = self.bindings.rados.Rados(
                rados_id=self.user, conffile=self._ceph_conf, conf=self._settings
            )
            try:
                handle.connect()
                return Connection(handle, handle.get_fsid(), self.bindings)
            except BaseException:
                handle.shutdown()
                raise


class _Shared:
    """The connection of one process; threads that wait for it share a failure too.

    If each of them tried again, the last one would wait for all timeouts together.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._failed_at = float("-inf")
        self._failure: BackendError | None = None

    def retained(self, connect: Callable[[], Connection]) -> Connection:
        began = monotonic()
        with self._lock:
            if self._connection is None:
                if self._failure is not None and self._failed_at >= began:
                    raise self._failure.with_traceback(None)
                try:
                    self._connection = connect()
                except BackendError as error:
                    self._failed_at, self._failure = monotonic(), error
                    raise
            return self._connection.retain()

    def close(self) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.release()
