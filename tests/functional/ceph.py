# SPDX-License-Identifier: Apache-2.0
"""A real Ceph: a monitor and an OSD."""

import itertools
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.functional.openstack import ENVIRONMENTS
from tests.functional.servers import free_port, running
from tests.functional.waiting import wait_until

FOLDER = ENVIRONMENTS / "ceph"

#: The folder of Ceph's Python bindings, for ``PYTHONPATH``.
BINDINGS = FOLDER / "python"

#: Modules of tests need it.
needs_ceph = pytest.mark.skipif(
    not all(PathFinder.find_spec(name, [str(BINDINGS)]) for name in ("rados", "rbd")),
    reason="NO CEPH: scripts/setup-servers could not install Debian's packages of Ceph, or they"
    f" are for another Python than {sys.version_info[0]}.{sys.version_info[1]}",
)

#: The user that only reads images; its key is in ``client.reader.keyring``.
USER = "reader"

_NUMBERS = itertools.count(1)

CONFIG = """\
[global]
fsid = {fsid}
mon host = v2:127.0.0.1:{port}
public addr = 127.0.0.1
ms bind msgr1 = false
keyring = {folder}/$name.keyring
run dir = {folder}
admin socket =
pid file = {folder}/$name.pid
log file = {folder}/$name.log
mon cluster log file = {folder}/cluster.log
mon data = {folder}/mon
osd data = {folder}/osd
erasure code dir = {libraries}/ceph/erasure-code
plugin dir = {libraries}/ceph
osd class dir = {libraries}/rados-classes
mon data avail crit = 0
auth allow insecure global id reclaim = false
mon allow pool delete = true
mon allow pool size one = true
paxos propose interval = 0.02
paxos min wait = 0.01
# Otherwise a client would ask the monitor for the new OSD after ten seconds.
objecter tick interval = 0.2
objecter timeout = 0.5
osd crush update on start = false
osd class update on start = false
osd crush chooseleaf type = 0
osd pool default size = 1
osd pool default min size = 1
osd pool default pg autoscale mode = off
"""

# It keeps its data when it is killed, and starts some seconds faster than BlueStore.  Ceph 18
# no longer has it.  The lengths are what the extended attributes of ext4 can hold.
FILES = """\
osd objectstore = filestore
osd journal = {folder}/osd/journal
osd journal size = 100
osd max object name len = 256
osd max object namespace len = 64
"""

# For benchmarks, which the disk must not slow down.  It loses its data when it is killed.
MEMORY = """\
osd objectstore = memstore
memstore device bytes = {memory}
"""


class Ceph:
    """A Ceph cluster, and a client that may do everything.

    :ivar config: the path of its ``ceph.conf``.
    """

    def __init__(self, folder: Path, memory: int | None) -> None:
        """Write what it reads; `start` starts it.

        :param folder: empty.
        :param memory: keep the data in so many bytes of memory, not in files.
        """
        self.fsid = str(uuid.uuid4())
        self.config = folder / "ceph.conf"
        self._folder = folder
        self._port = free_port()
        self._clients = ExitStack()
        self._servers = {"mon": ExitStack(), "osd": ExitStack()}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        (self._libraries,) = FOLDER.glob("usr/lib/*-linux-gnu*")
        places = {"port": self._port, "folder": folder, "libraries": self._libraries}
        config = CONFIG + (FILES if memory is None else MEMORY)
        self.config.write_text(config.format(fsid=self.fsid, memory=memory, **places))
        for name in self._servers:
            (folder / name).mkdir()

    def make(self) -> None:
        """Make the cluster, start it, and connect."""
        import rados

        address = f"[v2:127.0.0.1:{self._port}]"
        self._run("monmaptool", "--create", "--addv", "a", address, "--fsid", self.fsid, "monmap")
        # The monitor knows these two from the beginning; it has all others from `new_user`.
        for name, capabilities in {"mon.": ("mon",), "client.admin": ("mon", "osd")}.items():
            words = [word for service in capabilities for word in ("--cap", service, "allow *")]
            self._run(
                "ceph-authtool",
                "--create-keyring",
                f"{name}.keyring",
                "--gen-key",
                "-n",
                name,
                *words,
            )
        keyrings = [self._folder / f"{name}.keyring" for name in ("mon.", "client.admin")]
        (self._folder / "mon.a.keyring").write_text("".join(one.read_text() for one in keyrings))
        keyring = ("--keyring", "mon.a.keyring")
        self._run("ceph-mon", "--mkfs", "--id", "a", "--monmap", "monmap", *keyring)
        self.start("mon")
        client = rados.Rados(conffile=str(self.config), rados_id="admin")
        self._clients.callback(client.shutdown)
        client.connect()
        self.client = client
        osd = str(uuid.uuid4())
        self.command("osd new", uuid=osd)
        self.command("osd crush add", id=0, weight=1.0, args=["root=default", "host=here"])
        self.new_user("osd.0", mon="allow profile osd", osd="allow *")
        self._run("ceph-osd", "--mkfs", "--id", "0", "--osd-uuid", osd)
        self.start("osd")
        # As docs/rbd.md says.
        self.new_user(f"client.{USER}", mon="profile rbd-read-only", osd="profile rbd-read-only")

    def command(self, prefix: str, **arguments: Any) -> Any:
        """Give a command to the monitor; returns what it answers."""
        words = {"prefix": prefix, "format": "json", **arguments}
        code, output, error = self.client.mon_command(json.dumps(words), b"", timeout=30)
        assert code == 0, error
        return json.loads(output) if output else None

    def new_user(self, name: str, **capabilities: str) -> None:
        """Make a user, and its keyring where `config` says."""
        words = [word for pair in capabilities.items() for word in pair]
        (made,) = self.command("auth get-or-create", entity=name, caps=words)
        self.keyring(name).write_text(f"[{name}]\nkey = {made['key']}\n")

    def keyring(self, name: str) -> Path:
        """The file with the key of a user."""
        return self._folder / f"{name}.keyring"

    def start(self, name: str) -> None:
        """Start ``mon`` or ``osd``, and wait until it works."""
        ids = {"mon": "a", "osd": "0"}
        command = [
            str(FOLDER / "usr" / "bin" / f"ceph-{name}"),
            *("--conf", str(self.config), "--foreground", "--id", ids[name]),
        ]
        log = self._folder / f"{name}.out"
        self._processes[name] = self._servers[name].enter_context(
            running(command, self._port, log, self._environ(), self._folder)
        )
        if name == "osd":
            is_up = f"osd.0 failed to start: {self._folder}/osd.0.log"
            wait_until(lambda: self.command("osd stat")["num_up_osds"], is_up)

    def stop(self, name: str) -> None:
        """Stop ``mon`` or ``osd``; its connections break."""
        self._servers[name].close()

    def kill(self, name: str) -> None:
        """Kill ``mon`` or ``osd``; its connections break."""
        self._processes[name].kill()
        self.stop(name)
        if name == "osd":
            # There is no other OSD to report it.  Without `definitely_dead`, the new OSD would
            # wait for 16 seconds, because the old one might still answer clients.
            self.command("osd down", ids=["0"], definitely_dead=True)

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """``mon`` or ``osd`` keeps its connections in the block, and does nothing."""
        self._processes[name].send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._processes[name].send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop all that runs."""
        self._clients.close()
        # The OSD first: it tells the monitor that it stops.
        for name in ("osd", "mon"):
            self.stop(name)

    def new_pool(self, groups: int = 1) -> str:
        """Make a pool; returns its name.

        :param groups: how many placement groups it has.
        """
        name = f"pool-{next(_NUMBERS)}"
        self.command("osd pool create", pool=name, pg_num=groups)
        return name

    def remove_pool(self, name: str) -> None:
        """Remove a pool with all its images, and wait until the OSD knows it."""
        import rados

        # This client has the old map of the cluster, so the OSD is asked.
        with (
            rados.Rados(conffile=str(self.config), rados_id="admin") as client,
            client.open_ioctx(name) as ioctx,
        ):
            self.client.delete_pool(name)
            wait_until(lambda: _is_gone(ioctx), "the OSD still has the pool")

    def put(self, pool: str, image: str, data: bytes, snapshot: str = "snap") -> None:
        """Make an image with a protected snapshot, as Glance does."""
        self.put_chunks(pool, image, len(data), [data] if data else [], snapshot)

    def put_chunks(
        self, pool: str, image: str, size: int, chunks: Iterable[bytes], snapshot: str = "snap"
    ) -> None:
        """The same for data that need not be in memory as a whole."""
        import rbd

        with self.client.open_ioctx(pool) as ioctx:
            rbd.RBD().create(
                ioctx, image, size, 23, old_format=False, features=rbd.RBD_FEATURE_LAYERING
            )
            with rbd.Image(ioctx, image) as opened:
                position = 0
                for chunk in chunks:
                    position += opened.write(chunk, position)
                opened.create_snap(snapshot)
                opened.protect_snap(snapshot)

    def unprotect(self, pool: str, image: str, snapshot: str = "snap") -> None:
        """Take the protection from a snapshot."""
        import rbd

        with self.client.open_ioctx(pool) as ioctx, rbd.Image(ioctx, image) as opened:
            opened.unprotect_snap(snapshot)

    def remove_snapshot(self, pool: str, image: str, snapshot: str = "snap") -> None:
        """Remove a snapshot, as Glance does before it removes the image."""
        import rbd

        self.unprotect(pool, image, snapshot)
        with self.client.open_ioctx(pool) as ioctx, rbd.Image(ioctx, image) as opened:
            opened.remove_snap(snapshot)

    def remove(self, pool: str, image: str, snapshot: str = "snap") -> None:
        """Remove an image and its snapshot."""
        import rbd

        self.remove_snapshot(pool, image, snapshot)
        with self.client.open_ioctx(pool) as ioctx:
            rbd.RBD().remove(ioctx, image)

    @contextmanager
    def first_object(self, pool: str, image: str) -> Iterator[tuple[Any, str]]:
        """The pool, and the name of the object in it with the first bytes of an image."""
        import rbd

        with self.client.open_ioctx(pool) as ioctx:
            with rbd.Image(ioctx, image) as opened:
                prefix = opened.stat()["block_name_prefix"]
            yield ioctx, f"{prefix}.{0:016x}"

    def damage(self, pool: str, image: str) -> None:
        """Change a byte of an image and of its snapshots, as a fault of the OSD's disk does."""
        with self.first_object(pool, image) as (ioctx, name):
            ioctx.write(name, bytes([ioctx.read(name, 1)[0] ^ 1]))

    def lose(self, pool: str, image: str) -> None:
        """Remove the first object of an image; librbd reads zeros there."""
        with self.first_object(pool, image) as (ioctx, name):
            ioctx.remove_object(name)

    def url(self, pool: str, image: str, snapshot: str = "snap") -> str:
        """The location that Glance writes."""
        path = "/".join(quote(word, safe="") for word in (pool, image, snapshot))
        return f"rbd://{self.fsid}/{path}"

    def exporting(self, pool: str, image: str) -> subprocess.Popen[bytes]:
        """Start Ceph's own command that reads an image; it writes the data to its output."""
        return subprocess.Popen(
            [
                str(FOLDER / "usr" / "bin" / "rbd"),
                *("--conf", str(self.config), "--id", USER, "--no-progress"),
                *("export", f"{pool}/{image}@snap", "-"),
            ],
            env=self._environ(),
            stdout=subprocess.PIPE,
        )

    def _run(self, program: str, *arguments: str) -> None:
        configured = (
            [] if program in ("monmaptool", "ceph-authtool") else ["--conf", str(self.config)]
        )
        subprocess.run(
            [str(FOLDER / "usr" / "bin" / program), *configured, *arguments],
            cwd=self._folder,
            env=self._environ(),
            check=True,
            capture_output=True,
            timeout=60,
        )

    def _environ(self) -> dict[str, str]:
        system = FOLDER / self._libraries.relative_to(FOLDER / "usr")
        folders = (self._libraries, self._libraries / "ceph", system)
        return {"LD_LIBRARY_PATH": ":".join(map(str, folders))}


def _is_gone(pool: Any) -> bool:
    """Whether a pool with images is no longer there."""
    import rados

    try:
        pool.stat("rbd_directory")
    except rados.ObjectNotFound:
        return True
    return False


@contextmanager
def running_ceph(folder: Path, memory: int | None = None) -> Iterator[Ceph]:
    """Run a Ceph in an empty folder; its bindings can be imported meanwhile, also by children."""
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(str(BINDINGS))
        patched.setenv("PYTHONPATH", str(BINDINGS), prepend=os.pathsep)
        server = Ceph(folder, memory)
        try:
            server.make()
            yield server
        finally:
            server.close()
