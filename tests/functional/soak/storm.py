# SPDX-License-Identifier: Apache-2.0
"""Faults of all kinds at once, against a running ``imageapi serve``.

Its images are files, behind a real nginx, and in a real Swift.  Clients send all kinds of
requests.  Meanwhile upstreams and workers are killed, the configuration is read again, and
records change.  Data is replaced, truncated, overwritten and removed.  Each answer is judged by
the facts that were true during its request, and each body byte for byte.  After the storm all
images must be served, and nothing may be left open.

Some clients resume without If-Range and without comparing a checksum, as wget and aria2 do.
Their files must be a right version, unless data or record changed between their requests.
Then a mixture of two versions is allowed.

The storm makes no change that imageapi does not notice by its documentation.  The bytes of
parts are judged only if nothing changed the data.  With ``verify_checksum = once`` no file of
the web server is overwritten while it is sent.  A file that was overwritten and got its old
time back keeps its name until no client reads it (docs/operations.md).
"""

import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import NamedTuple

import psutil

from tests.functional.nginx import Nginx
from tests.functional.servers import Running, running_imageapi
from tests.functional.soak.clients import Pace, Report, SoakClient, fetch
from tests.functional.soak.history import History
from tests.functional.soak.images import (
    SIZES,
    About,
    Changing,
    Rewriting,
    Surroundings,
    Tidy,
    Untidy,
    UntidyDynamic,
    UntidyFile,
)
from tests.functional.soak.judge import Asked
from tests.functional.soak.keepers import Container, Folder, Keeper, WebFolder
from tests.functional.swift import Swift, v1_options
from tests.functional.waiting import wait_until

WORKERS = 2
THREADS = 12
CLIENTS = 18
# The pools are small, so that a connection that is not given back is noticed. There are
# POOLS kinds: for records, for the data of two upstreams, and for logins.
POOL_SIZE, POOLS = 4, 4
MOST_CONNECTIONS = WORKERS * POOLS * POOL_SIZE

# Seconds; long, because the machine may be busy.
_PATIENCE = 90

# What clients may get while a server is down.
_FALL = ("503", "broken")

# Without its account server Swift cannot list the segments of a dynamic large object.
_FALL_OF_SWIFT = {"account": (*_FALL, "404")}

CONFIG = """\
[imageapi]
registry = {registry}
stores = file, http, swift
policy = visible
verify_checksum = {verify}
chunk_size = {chunk_size}
{registry_section}
[imageapi_store_file]
directory = {folder}/images
[imageapi_store_http]
allowed_urls = {url}
pool_size = {pool_size}
read_timeout = 10
[imageapi_store_swift]
container = images
auth_section = cloud
[cloud]
pool_size = {pool_size}
timeout = 10
connect_retries = 2
connect_retry_delay = 0.2
status_code_retries = 2
status_code_retry_delay = 0.2
{cloud}
"""

REGISTRIES = {
    "file": "[imageapi_registry_file]\ndirectory = {folder}/records",
    "http": "[imageapi_registry_http]\nendpoint = {url}/records\nsuffix = .json",
    "swift": "[imageapi_registry_swift]\ncontainer = records\nauth_section = cloud",
}

# With SSI nginx does not know the length when it begins to send a file.
NO_LENGTHS = "location /ssi/ { alias FOLDER/images/; ssi on; ssi_types *; }"


class Turn(NamedTuple):
    """The settings of one storm: how data is verified, and where the records are."""

    verify: str
    registry: str


TURNS: Sequence[Turn] = (
    Turn("once", "file"),
    Turn("always", "swift"),
    Turn("once", "http"),
    Turn("always", "file"),
    Turn("once", "swift"),
    Turn("always", "http"),
)


FAULTS = frozenset(
    {
        "nginx killed",
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


class StormWorld:
    """The upstreams, and their folders."""

    def __init__(self, folder: Path) -> None:
        """:param folder: empty."""
        self.folder = folder
        self.web = folder / "web"
        for name in ("images", "records", "web/images", "web/records", "nginx", "swift"):
            (folder / name).mkdir(parents=True)
        server = NO_LENGTHS.replace("FOLDER", str(self.web))
        # Otherwise the kernel holds a whole image, and killing the server breaks no download.
        listen = " sndbuf=65536"
        self.nginx = Nginx(self.web, folder / "nginx", server=server, listen=listen)
        self.url = f"http://127.0.0.1:{self.nginx.port}"
        self.swift = Swift(folder / "swift")

    def start(self) -> None:
        self.nginx.start()
        for kind in ("account", "container", "object", "proxy"):
            self.swift.start(kind)
        with closing(self.swift.client()) as client:
            for container in ("records", "images"):
                client.put_container(container)

    def close(self) -> None:
        self.nginx.close()
        self.swift.close()

    def records(self, registry: str) -> Keeper:
        if registry == "file":
            return Folder(self.folder / "records")
        if registry == "http":
            return WebFolder(self.web / "records", f"{self.url}/records")
        return Container(self.swift, "records")

    def configuration(self, turn: Turn, chunk_size: int) -> str:
        cloud = "\n".join(f"{name} = {value}" for name, value in v1_options(self.swift).items())
        section = REGISTRIES[turn.registry].format(folder=self.folder, url=self.url)
        return CONFIG.format(
            registry=turn.registry,
            registry_section=section,
            verify=turn.verify,
            chunk_size=chunk_size,
            folder=self.folder,
            url=self.url,
            pool_size=POOL_SIZE,
            cloud=cloud,
        )


@contextmanager
def running_world(folder: Path) -> Iterator[StormWorld]:
    """Run the upstreams in an empty folder."""
    made = StormWorld(folder)
    try:
        made.start()
        yield made
    finally:
        made.close()


def images_of(world: StormWorld, turn: Turn, name: str, around: Surroundings) -> list[Changing]:
    """An image of each kind.

    :param name: the beginning of their ids.
    """
    files = Folder(world.folder / "images")
    web = WebFolder(world.web / "images", f"{world.url}/images")
    unsized = WebFolder(world.web / "images", f"{world.url}/ssi")
    objects = Container(world.swift, "images")
    registry = {"http": ("nginx",), "swift": ("swift",)}.get(turn.registry, ())
    none, nginx, swift = (("imageapi", *registry, *more) for more in ((), ("nginx",), ("swift",)))
    always = turn.verify == "always"
    of_file = Rewriting.ALWAYS if always else Rewriting.KEEPS_NAME
    of_web = Rewriting.ALWAYS if always else Rewriting.NEVER

    def about(kind: str, servers: tuple[str, ...], **more: bool) -> About:
        image_id = f"{name}-{kind.replace(', ', '-').replace(' ', '-')}"
        return About(image_id, kind, servers, around, **more)

    return [
        Tidy(about("file", none), files),
        UntidyFile(about("file, untidy", none), files, of_file),
        Tidy(about("http", nginx), web),
        Tidy(about("http, then file", nginx), web, files),
        Tidy(about("http, no length", nginx, is_sized=False), unsized),
        UntidyFile(about("http, untidy", nginx), web, of_web),
        Tidy(about("swift", swift), objects),
        Untidy(about("swift, untidy", swift), objects),
        UntidyDynamic(about("swift, dynamic", swift), objects),
    ]


#: Functions that cause faults, by the name of the fault.
Ways = Mapping[str, Callable[[], None]]


@dataclass(frozen=True)
class Storm:
    """One turn: a server, its images, the clients, and the threads that cause faults."""

    world: StormWorld
    turn: Turn
    name: str
    random: Random
    report: Report
    stopping: threading.Event
    servers: Mapping[str, History]

    @classmethod
    def of(
        cls, world: StormWorld, turn: Turn, name: str, random: Random, report: Report
    ) -> "Storm":
        servers = {name: History() for name in ("imageapi", "nginx", "swift")}
        return cls(world, turn, name, random, report, threading.Event(), servers)

    @property
    def config_file(self) -> Path:
        return self.world.folder / self.name / "imageapi.conf"

    def run(self, seconds: float, until: Set[str]) -> None:
        """Run the storm, and check the server afterwards.

        :param seconds: the shortest time.
        :param until: the storm goes on until all of these faults have happened.
        :raises AssertionError: an answer was wrong, or something is left open.
        """
        around = Surroundings(self.world.records(self.turn.registry), self._chance(), self.stopping)
        images = images_of(self.world, self.turn, self.name, around)
        for image in images:
            image.create()
        self.config_file.parent.mkdir()
        self._configure(self.random)
        arguments = ("--workers", str(WORKERS), "--threads", str(THREADS))
        with running_imageapi(self.config_file, *arguments) as server:
            all_served(server.port, images)
            at_rest = _open_at_rest(server, self.world)
            self._rage(seconds, until, images, server)
            all_served(server.port, images)
            leave_all(server.port, images)
            wait_until(
                lambda: _open_at_rest(server, self.world) == at_rest, "something is left open"
            )
            held = sum(len(_upstream(worker, self.world)) for worker in server.children())
            assert held <= MOST_CONNECTIONS, f"{held} connections are left open"
        for image in images:
            image.remove()
        refuse_log((self.config_file.parent / "server.log").read_text())

    def _configure(self, random: Random) -> None:
        chunk_size = random.choice([65536, 262144, 1048576])
        self.config_file.write_text(self.world.configuration(self.turn, chunk_size))

    def _rage(
        self, seconds: float, until: Set[str], images: Sequence[Changing], server: Running
    ) -> None:
        clients = [
            SoakClient(server.port, images, self.servers, self._chance(), self.report)
            for _ in range(CLIENTS)
        ]
        harms = [(image.changes, 1.5) for image in images]
        harms += [(falls, 6.0) for falls in self._falls()]
        harms.append((self._server_falls(server), 15.0))
        tasks = [partial(one.run, self.stopping) for one in clients]
        tasks += [partial(self._harm, ways, self._chance(), pause) for ways, pause in harms]
        with ThreadPoolExecutor(len(tasks)) as pool:
            running = [pool.submit(task) for task in tasks]
            try:
                self._wait(seconds, until)
            finally:
                self.stopping.set()
        assert not self.report.wrong, "\n".join(self.report.wrong)
        for one in running:
            one.result()

    def _wait(self, seconds: float, until: Set[str]) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline or until - set(self.report.faults):
            if self.stopping.wait(0.1):
                return
            assert time.monotonic() < deadline + _PATIENCE, "not all faults happen"

    def _chance(self) -> Random:
        """A generator for one thread: one that threads share would not repeat its sequence."""
        return Random(self.random.random())

    # The faults.

    def _harm(self, ways: Ways, random: Random, pause: float) -> None:
        """Cause all faults in random order, again and again, until the storm is over."""
        left: list[str] = []
        while not self.stopping.wait(random.uniform(0, pause)):
            left = left or random.sample(sorted(ways), len(ways))
            way = left.pop()
            ways[way]()
            self.report.did(way)

    def _falls(self) -> Sequence[Ways]:
        nginx, swift = self._chance(), self._chance()
        kinds = ("proxy", "object", "container", "account")
        return [
            {"nginx killed": partial(self._fell_nginx, nginx)},
            {
                f"Swift's {kind} server killed": partial(self._fell_swift, swift, kind)
                for kind in kinds
            },
        ]

    def _server_falls(self, server: Running) -> Ways:
        chance = self._chance()
        return {
            "worker killed": partial(self._kill_worker, server, chance),
            "reloaded": partial(self._reload, server, chance),
        }

    def _fell_nginx(self, random: Random) -> None:
        with self.servers["nginx"].during(*_FALL):
            self.world.nginx.kill()
            self.stopping.wait(random.uniform(0, 1.5))
            self.world.nginx.start()

    def _fell_swift(self, random: Random, kind: str) -> None:
        with self.servers["swift"].during(*_FALL_OF_SWIFT.get(kind, _FALL)):
            self.world.swift.stop(kind)
            self.stopping.wait(random.uniform(0, 1.5))
            self.world.swift.start(kind)

    def _kill_worker(self, server: Running, random: Random) -> None:
        with self.servers["imageapi"].during("broken"):
            worker = random.choice(server.children())
            worker.kill()
            psutil.wait_procs([worker])

    def _reload(self, server: Running, random: Random) -> None:
        self._configure(random)
        server.process.send_signal(signal.SIGHUP)


def _open_at_rest(server: Running, world: StormWorld) -> list[int]:
    """How many descriptors each worker has open, without kept connections to upstreams."""
    return sorted(worker.num_fds() - len(_upstream(worker, world)) for worker in server.children())


def _upstream(worker: psutil.Process, world: StormWorld) -> list[object]:
    ports = {world.nginx.port, world.swift.ports["proxy"]}
    connections = worker.net_connections("tcp")
    return [one for one in connections if one.raddr and one.raddr.port in ports]


def all_served(port: int, images: Sequence[Changing]) -> None:
    """Wait until each image is served with the right data."""
    for image in images:
        wait_until(partial(_is_served, port, image), f"{image.id} is not served", _PATIENCE)


def _is_served(port: int, image: Changing) -> bool:
    answer = fetch(port, image.id, Asked(), Pace())
    return answer.is_complete and answer.body == image.version.data


def leave_all(port: int, images: Sequence[Changing]) -> None:
    """Leave more downloads than there may be connections, while no server is killed."""
    large = [one for one in images if len(one.servers) > 1 and one.version.size > SIZES[0]]
    for number in range(2 * MOST_CONNECTIONS):
        fetch(port, large[number % len(large)].id, Asked(), Pace(leaves_after=1))


# A traceback in the log: the line before it, and its last line.
_TRACEBACK = re.compile(
    r"^(?P<before>.*)\nTraceback \(most recent call last\):\n(?:[ \t].*\n)*(?P<error>.*)$", re.M
)
_BROKEN_OFF = re.compile(r"imageapi\.(errors|backends\.http_client\.client)\.(?!ForeignError)\w+: ")


def refuse_log(text: str) -> None:
    """Refuse any traceback, except the one that gunicorn logs for a body that is broken off."""
    matches = list(_TRACEBACK.finditer(text))
    assert len(matches) == text.count("Traceback"), "tracebacks of another look"
    for match in matches:
        is_gunicorns = match["before"].endswith("Error in ASGI application")
        assert is_gunicorns, match[0]
        assert _BROKEN_OFF.match(match["error"]), match[0]


def soak(folder: Path, seed: int, seconds: float, turns: int, report: Report) -> None:
    """Run storms, one after another.

    :param folder: empty.
    :param seconds: the shortest time of each turn; the last one ends after all of `FAULTS`.
    :raises AssertionError: a storm found a fault; its notes have the seed.
    """
    random = Random(seed)
    first = random.randrange(len(TURNS))
    try:
        with running_world(folder) as upstreams:
            for number in range(turns):
                turn = TURNS[(first + number) % len(TURNS)]
                until = FAULTS if number == turns - 1 else frozenset()
                Storm.of(upstreams, turn, f"t{number}", random, report).run(seconds, until)
    except AssertionError as error:
        error.add_note(f"seed: {seed}")
        raise
