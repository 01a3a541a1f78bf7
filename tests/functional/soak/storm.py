# SPDX-License-Identifier: Apache-2.0
"""Faults of all kinds at once, against a running imageapi.

Its images are files, behind a real nginx, in a real Swift, also as S3, and in a real Ceph.
Clients send all kinds of requests.  Meanwhile upstreams and workers are killed, the
configuration is read again, and records change.  Data is replaced, truncated, overwritten and
removed.  Each answer is judged by the facts that were true during its request, and each body
byte for byte.  After the storm all images must be served, and nothing may be left open.

Some clients resume without If-Range and without comparing a checksum, as curl, wget and aria2
do.  Their files must be a right version, unless data or record changed between their requests.
Then a mixture of two versions is allowed.

A turn has rounds.  In the first half of the first round workers are killed too.  After each
round it is measured what the server holds.  The last round may hold no more than the first.

The storm makes no change that imageapi does not notice by its documentation.  The bytes of
parts are judged only if nothing changed the data.  With ``verify_checksum = once`` no file of
the web server is overwritten while it is sent.  A file that was overwritten and got its old
time back keeps its name until no client reads it (docs/operations.md).
"""

import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

from tests.functional.servers import Running
from tests.functional.soak.clients import Pace, SoakClient, fetch
from tests.functional.soak.door import MAY_GROW, THREADS, WORKERS, Resources, held_by, running_door
from tests.functional.soak.faults import FaultyServers, FaultyWorkers, Ways
from tests.functional.soak.history import History
from tests.functional.soak.images import SIZES, Changing, Surroundings
from tests.functional.soak.judge import Asked
from tests.functional.soak.lists import ListClient
from tests.functional.soak.log_lines import kinds_of
from tests.functional.soak.programs import ProgramClient
from tests.functional.soak.report import Report
from tests.functional.soak.world import (
    CACHE_SIZE,
    POOL_SIZE,
    POOLS,
    SERVERS_OF_REGISTRIES,
    TURNS,
    SoakServers,
    Turn,
    images_of,
    running_world,
)
from tests.functional.waiting import wait_until

CLIENTS, LISTERS, PROGRAMS = 14, 2, 2
MOST_CONNECTIONS = WORKERS * POOLS * POOL_SIZE

# Seconds; long, because the machine may be busy.
_PATIENCE = 180

#: A client, or a thread that causes faults: it runs until the event is set.
Task = Callable[[], None]


@dataclass(frozen=True)
class Storm:
    """One turn: a server, its images, the clients, and the threads that cause faults."""

    world: SoakServers
    turn: Turn
    name: str
    random: Random
    report: Report
    stopping: threading.Event
    servers: Mapping[str, History]

    @classmethod
    def of(
        cls, world: SoakServers, turn: Turn, name: str, random: Random, report: Report
    ) -> "Storm":
        names = ("imageapi", "nginx", "swift", "ceph", "database")
        servers = {name: History() for name in names}
        return cls(world, turn, name, random, report, threading.Event(), servers)

    @property
    def folder(self) -> Path:
        return self.world.folder / self.name

    @property
    def config_file(self) -> Path:
        return self.folder / "imageapi.conf"

    def run(self, seconds: float, rounds: int, *, is_last: bool) -> None:
        """Run the storm, and check the server afterwards.

        :param seconds: the shortest time of a round.
        :param is_last: whether its last round goes on until the report lacks nothing.
        :raises AssertionError: an answer or a line of the log was wrong, or something is left.
        """
        for name in ("cache", "downloads"):
            (self.folder / name).mkdir(parents=True)
        with self.world.records(self.turn, self.name) as (records, database):
            around = Surroundings(records, self._chance(), self.stopping, self.folder / "cache")
            images = images_of(self.world, self.turn, self.name, around)
            try:
                for image in images:
                    image.create()
                configure = partial(self._configure, database)
                configure(self.random)
                with running_door(self.turn.door, self.config_file) as server:
                    self._rounds(seconds, rounds, images, server, configure, is_last=is_last)
            finally:
                for image in images:
                    image.remove()
                log = (self.folder / "server.log").read_text(errors="replace")
                self.report.log_lines.update(kinds_of(log))

    def _configure(self, database: str, random: Random) -> None:
        chunk_size = random.choice([65536, 262144, 1048576])
        text = self.world.configuration(self.turn, self.folder, chunk_size, database)
        self.config_file.write_text(text)

    def _rounds(
        self,
        seconds: float,
        rounds: int,
        images: Sequence[Changing],
        server: Running,
        configure: Callable[[Random], None],
        *,
        is_last: bool,
    ) -> None:
        upstreams = FaultyServers(self.world, self.turn, self.servers, self.random, self.stopping)
        workers = FaultyWorkers(server, self.servers["imageapi"], self._chance(), configure)
        harms = [(image.changes, 1.5, float("inf")) for image in images]
        harms += [(ways, pause, float("inf")) for ways, pause in upstreams.ways()]
        clients = self._clients(server.port, images)
        held = [self._at_rest(server, images)]
        for number in range(rounds):
            kills = [(workers.ways(), 5.0, seconds / 2)] if number == 0 else []
            goes_on = is_last and number == rounds - 1
            self._rage(clients, [*harms, *kills], seconds, goes_on=goes_on)
            held.append(self._at_rest(server, images))
            self.report.held[self.turn] = held
        refuse_growth(held[0], held[-1])

    def _clients(self, port: int, images: Sequence[Changing]) -> Sequence[Task]:
        registry = ("imageapi", *SERVERS_OF_REGISTRIES[self.turn.registry])
        asked = [self.servers[name] for name in registry]
        clients: list[SoakClient | ListClient | ProgramClient] = [
            SoakClient(port, images, self.servers, self._chance(), self.report)
            for _ in range(CLIENTS)
        ]
        clients += [
            ListClient(port, images, asked, self._chance(), self.report, self.turn.registry)
            for _ in range(LISTERS)
        ]
        for number in range(PROGRAMS):
            folder = self.folder / "downloads" / str(number)
            folder.mkdir()
            clients.append(ProgramClient(port, images, self._chance(), self.report, folder))
        return [partial(one.run, self.stopping) for one in clients]

    def _rage(
        self,
        clients: Sequence[Task],
        harms: Sequence[tuple[Ways, float, float]],
        seconds: float,
        *,
        goes_on: bool,
    ) -> None:
        """Run the clients and cause the faults for a time."""
        self.stopping.clear()
        earlier = len(self.report.wrong)
        tasks: list[Task] = [*clients]
        tasks += [
            partial(self._harm, ways, self._chance(), pause, until_then)
            for ways, pause, until_then in harms
        ]
        with ThreadPoolExecutor(len(tasks)) as pool:
            running = [pool.submit(task) for task in tasks]
            try:
                self._wait(seconds, goes_on=goes_on)
            finally:
                self.stopping.set()
        for one in running:
            one.result()
        assert len(self.report.wrong) == earlier, "a client received a wrong answer"

    def _wait(self, seconds: float, *, goes_on: bool) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline or (goes_on and self.report.lacking()):
            if self.stopping.wait(0.1):
                return
            if time.monotonic() > deadline + _PATIENCE:
                raise AssertionError(f"this does not happen: {self.report.lacking()}")

    def _chance(self) -> Random:
        """A generator for one thread: one that threads share would not repeat its sequence."""
        return Random(self.random.random())

    def _harm(self, ways: Ways, random: Random, pause: float, seconds: float) -> None:
        """Cause all faults in random order, again and again, for a time or until the end.

        At first those that have not happened yet. Each happens at least once.
        """
        left = self._order(ways, random)
        deadline = time.monotonic() + seconds
        while not self.stopping.wait(random.uniform(0, pause)):
            way = left.pop()
            ways[way]()
            self.report.did(way)
            if not left and time.monotonic() > deadline:
                return
            left = left or self._order(ways, random)

    def _order(self, ways: Ways, random: Random) -> list[str]:
        names = sorted(ways.keys() - self.report.faults.keys() or ways)
        random.shuffle(names)
        return names

    def _at_rest(self, server: Running, images: Sequence[Changing]) -> Resources:
        """What the server holds after downloads, as soon as none is left and nothing changes."""
        all_served(server.port, images)
        leave_all(server.port, images)
        seen: list[Resources] = []

        def is_settled() -> bool:
            seen.append(held_by(server, self.world.ports(), self.folder / "cache"))
            now, before = seen[-1], seen[max(-6, -len(seen))]
            is_same = len(seen) > 5 and now.descriptors == before.descriptors
            return is_same and now.processes == WORKERS + 1 and not now.unfinished

        wait_until(is_settled, "the server does not come to rest", _PATIENCE)
        now = seen[-1]
        assert now.connections <= MOST_CONNECTIONS, f"{now.connections} connections are left open"
        assert now.cached <= CACHE_SIZE, f"{now.cached} bytes are in the cache"
        return now


def refuse_growth(first: Resources, last: Resources) -> None:
    """Refuse that a server holds more and more.

    :raises AssertionError: it does.
    """
    for name in ("processes", "descriptors", "threads", "memory"):
        before, after, more = (getattr(one, name) for one in (first, last, MAY_GROW))
        assert after <= before + more, f"{name} grew from {before} to {after}: {first}, {last}"


def all_served(port: int, images: Sequence[Changing]) -> None:
    """Wait until each image is served with the right data."""
    for image in images:
        wait_until(partial(_is_served, port, image), f"{image.id} is not served", _PATIENCE)


def _is_served(port: int, image: Changing) -> bool:
    answer = fetch(port, image.id, Asked(), Pace())
    return answer.is_complete and answer.body == image.version.data


def leave_all(port: int, images: Sequence[Changing]) -> None:
    """Leave more downloads than there may be connections, while no server is killed.

    So many at once that each worker gets some of each store.
    """
    large = [one for one in images if len(one.servers) > 1 and one.version.size > SIZES[0]]
    asked = [large[number % len(large)] for number in range(2 * MOST_CONNECTIONS)]
    with ThreadPoolExecutor(WORKERS * THREADS) as pool:
        list(pool.map(lambda one: fetch(port, one.id, Asked(), Pace(leaves_after=1)), asked))


def soak(folder: Path, seed: int, seconds: float, turns: int, rounds: int, report: Report) -> None:
    """Run storms, one after another.

    :param folder: empty.
    :param seconds: the shortest time of each round; the last one goes on until the report
        lacks nothing.
    :param rounds: of each turn.
    """
    random = Random(seed)
    first = random.randrange(0, len(TURNS), 2)
    with running_world(folder) as upstreams:
        for number in range(turns):
            turn = TURNS[(first + number) % len(TURNS)]
            storm = Storm.of(upstreams, turn, f"t{number}", random, report)
            try:
                storm.run(seconds, rounds, is_last=number == turns - 1)
            except AssertionError as error:
                report.wrong.append(f"{turn}, seed {seed}: {error}")
                sys.stderr.write("\n".join(report.wrong) + "\n")
