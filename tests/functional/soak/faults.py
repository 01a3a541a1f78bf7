# SPDX-License-Identifier: Apache-2.0
"""Servers that fail and come back, and the facts that are true meanwhile."""

import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from random import Random

import psutil

from tests.functional.servers import Running
from tests.functional.soak.history import History
from tests.functional.soak.world import DATABASES, SoakServers, Turn

#: Functions that cause faults, by the name of the fault.
Ways = Mapping[str, Callable[[], None]]

#: The faults of every turn, and that of a turn with a database.
FAULTS = frozenset(
    {
        "nginx killed",
        "Ceph's OSD stopped",
        "Swift's proxy server killed",
        "Swift's object server killed",
        "Swift's container server killed",
        "Swift's account server killed",
        "worker killed",
        "reloaded",
        "record: new version",
        "record: back",
        "record: deactivated",
        "record: deleted",
        "data, then record",
        "record, then data",
        "segments, then record",
        "record, then segments",
        "data: truncated",
        "data: truncated, then replaced",
        "data: appended to",
        "data: rewritten, time set back",
        "data: rewritten, and back",
        "data: touched",
        "data: removed",
    }
)

# What clients may get while a server is down.
_FALL = ("503", "broken")

# Without its account server Swift cannot list the segments of a dynamic large object.
_FALL_OF_SWIFT = {"account": (*_FALL, "404")}


class FaultyServers:
    """The servers behind imageapi, which one thread each stops and starts again."""

    def __init__(
        self,
        world: SoakServers,
        turn: Turn,
        servers: Mapping[str, History],
        random: Random,
        stopping: threading.Event,
    ) -> None:
        """:param servers: gets the facts about each server, by its name."""
        self._world = world
        self._turn = turn
        self._servers = servers
        # A generator for each thread: one that threads share would not repeat its sequence.
        self._randoms = {name: Random(random.random()) for name in servers}
        self._stopping = stopping

    def ways(self) -> Sequence[tuple[Ways, float]]:
        """The faults; one thread causes those of one mapping.

        With the longest pause between two faults, in seconds.
        """
        kinds = ("proxy", "object", "container", "account")
        swift = {f"Swift's {kind} server killed": partial(self._fell_swift, kind) for kind in kinds}
        ways: list[tuple[Ways, float]] = [
            ({"nginx killed": self._fell_nginx}, 6.0),
            (swift, 3.0),
            ({"Ceph's OSD stopped": self._fell_ceph}, 12.0),
        ]
        if self._turn.registry in DATABASES:
            ways.append(({"database killed": self._fell_database}, 16.0))
        return ways

    def _fell_nginx(self) -> None:
        with self._servers["nginx"].during(*_FALL):
            self._world.nginx.kill()
            self._pause("nginx")
            self._world.nginx.start()

    def _fell_swift(self, kind: str) -> None:
        with self._servers["swift"].during(*_FALL_OF_SWIFT.get(kind, _FALL)):
            self._world.swift.stop(kind)
            self._pause("swift")
            self._world.swift.start(kind)

    def _fell_ceph(self) -> None:
        # In order: the OSD keeps its data in memory, and writes it down when it stops.
        with self._servers["ceph"].during(*_FALL):
            self._world.ceph.stop("osd")
            self._pause("ceph")
            self._world.ceph.start("osd")

    def _fell_database(self) -> None:
        database = self._world.databases[self._turn.registry]
        with self._servers["database"].during(*_FALL):
            database.kill()
            self._pause("database")
            database.start()

    def _pause(self, server: str) -> None:
        self._stopping.wait(self._randoms[server].uniform(0, 1.5))


class FaultyWorkers:
    """The workers of imageapi, which are killed and replaced."""

    def __init__(
        self,
        server: Running,
        history: History,
        random: Random,
        configure: Callable[[Random], None],
    ) -> None:
        """:param configure: writes the configuration anew."""
        self._server = server
        self._history = history
        self._random = random
        self._configure = configure

    def ways(self) -> Ways:
        """The faults, for one thread."""
        return {"worker killed": self._kill, "reloaded": self._reload}

    def _kill(self) -> None:
        with self._history.during("broken"):
            worker = self._random.choice(self._server.children())
            worker.kill()
            psutil.wait_procs([worker])

    def _reload(self) -> None:
        self._configure(self._random)
        self._server.process.send_signal(signal.SIGHUP)
