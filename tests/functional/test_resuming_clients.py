# SPDX-License-Identifier: Apache-2.0
"""Clients that resume by themselves: none ends with a complete file of wrong bytes.

The clients, the stores and ``imageapi serve`` are real.  One case is not tested, because no
server can prevent it: the data is replaced, and a client joins bytes of both versions without
comparing the checksum.
"""

import hashlib
import itertools
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import ANY

import pytest

from tests.deployment import Deployment
from tests.functional.download_clients import (
    COMMANDS,
    Commands,
    Left,
    downloads_by_client,
    left_of,
    run_client,
    started,
    with_commands,
)
from tests.functional.nginx import nginx
from tests.functional.relay import Break, Relay
from tests.functional.servers import serving
from tests.functional.swift import Swift, running_swift, v1_options
from tests.functional.waiting import wait_until

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

# More than a chunk of imageapi, enough for four parts of aria2, and a multiple of 512 bytes.
CHUNK = 256 * 1024
SIZE = 4 * 1024 * 1024 + 77 * 512
# nginx with SSI drops a "<" at the end of a file.
DATA = os.urandom(SIZE - 1) + b"."
MIDDLE = SIZE // 2 + 1000


def flipped(position: int) -> bytes:
    changed = bytearray(DATA)
    changed[position] ^= 1
    return bytes(changed)


WRONG: Mapping[str, bytes] = {
    "first-byte": flipped(0),
    "middle-byte": flipped(MIDDLE),
    "last-byte": flipped(-1),
    "truncated": DATA[: SIZE // 2],
    "too-long": DATA + b"more",
}

# As large as the image; no byte is equal.
OTHER = bytes(255 - byte for byte in DATA)

STORES = ("file", "http", "swift")

# The records of each client have another hash algorithm. So no client depends on data that
# imageapi has verified for another client.
ALGORITHMS: Mapping[str, str] = dict(
    zip(
        downloads_by_client(),
        ("md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha3_256", "sha3_512"),
        strict=True,
    )
)

CONFIG = """\
verify_checksum = {verify}
chunk_size = {chunk_size}
stores = file, http, swift
"""

SECTIONS = """\
[imageapi_store_http]
allowed_urls = {url}
[imageapi_store_swift]
container = images
auth_section = cloud
[cloud]
{cloud}
"""

# With SSI nginx does not know the length when it begins to send a file, and ignores Range.
NO_LENGTHS = "location /ssi/ {{ alias {folder}/web/; ssi on; ssi_types *; }}"


class Mode(NamedTuple):
    """How an ``imageapi serve`` is started."""

    verify: str
    workers: int


MODES = (Mode("once", 1), Mode("always", 2), Mode("once", 2), Mode("always", 1))


@dataclass(frozen=True)
class World:
    """Stores with data, and services in front of them with the same records.

    :ivar ports: the ports of the services, by their mode.
    """

    deployment: Deployment
    web: Path
    web_url: str
    swift: Swift
    ports: Mapping[Mode, int]

    def put(self, name: str, data: bytes, stores: Sequence[str] = STORES) -> None:
        """Put data into stores."""
        for folder in self._folders(stores):
            (folder / name).write_bytes(data)
        if "swift" in stores:
            with closing(self.swift.client()) as client:
                client.put_object("images", name, data)

    def path(self, store: str, name: str) -> Path:
        (folder,) = self._folders([store])
        return folder / name

    def _folders(self, stores: Sequence[str]) -> list[Path]:
        folders = {"file": self.deployment.images, "http": self.web}
        return [folders[store] for store in stores if store in folders]

    def location(self, store: str, name: str) -> str:
        begins = {
            "file": f"file://{self.deployment.images}",
            "http": self.web_url,
            "ssi": f"{self.web_url}/ssi",
            "swift": "swift://images",
        }
        return f"{begins[store]}/{name}"

    def record(self, image_id: str, client: str, *locations: str, **fields: Any) -> None:
        """Write the record of an image whose data is `DATA`, as it should be."""
        algorithm = ALGORITHMS[client]
        digest = hashlib.new(algorithm, DATA).hexdigest()
        hashes = {"os_hash_algo": algorithm, "os_hash_value": digest}
        if algorithm == "md5":
            hashes = {"checksum": digest}
        given = {"size": SIZE, "locations": list(locations), **hashes, **fields}
        self.deployment.record(image_id, **given)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("resuming")
    deployment = Deployment(folder / "deployment")
    for name in ("web", "nginx", "swift"):
        (folder / name).mkdir()
    with ExitStack() as stack:
        swift = stack.enter_context(running_swift(folder / "swift"))
        with closing(swift.client()) as client:
            client.put_container("images")
        server = NO_LENGTHS.format(folder=folder)
        web = stack.enter_context(nginx(folder / "web", folder / "nginx", server=server))
        web_url = f"http://127.0.0.1:{web}"
        ports: dict[Mode, int] = {}
        world = World(deployment, folder / "web", web_url, swift, ports)
        for name, data in (*WRONG.items(), ("short", DATA[: CHUNK // 2]), ("right", DATA)):
            world.put(name, data)
        cloud = "\n".join(f"{name} = {value}" for name, value in v1_options(swift).items())
        for mode in MODES:
            core = CONFIG.format(verify=mode.verify, chunk_size=CHUNK)
            deployment.configure(core, SECTIONS.format(url=web_url, cloud=cloud))
            config_file = deployment.folder / f"{mode.verify}-{mode.workers}.conf"
            deployment.config_file.rename(config_file)
            ports[mode] = stack.enter_context(serving(config_file, "--workers", str(mode.workers)))
        settle(deployment.images / "right")
        yield world


def settle(path: Path) -> None:
    """Wait until a file, and all older files, are so old that their times identify them."""
    changed = path.stat().st_ctime
    wait_until(lambda: time.time() > changed + 2.5, "the clock stands still")


def fault_of(left: Left) -> str | None:
    """The fault in the file that a client left; None if it is no wrong image."""
    if left.data == DATA:
        return None
    if left.succeeded:
        return "ended with status 0 and other bytes than the image's"
    if left.data is not None and len(left.data) == SIZE and not left.is_begun_only:
        return "left a file of the full size with other bytes than the image's"
    return None


class Case(NamedTuple):
    """A download: the client, the image and the service.

    :ivar breaks: how the relay breaks its first connections.
    """

    image_id: str
    client: str
    port: int
    breaks: Sequence[Break] = ()


def all_done(cases: Sequence[Case], folder: Path) -> Mapping[str, Left]:
    """Run several downloads at once, because clients mostly wait; the results by image id."""

    def one(case: Case) -> tuple[str, Left]:
        # Without an option, wget takes the name of the file from the URL.
        place = folder / case.image_id
        place.mkdir()
        target = place / case.image_id
        download = downloads_by_client()[case.client]
        if not case.breaks:
            return case.image_id, download(url(case.port, case.image_id), target)
        with Relay(case.port, case.breaks) as relay:
            left = download(url(relay.port, case.image_id), target)
            assert relay.broken == len(case.breaks), "it did not ask for enough to be broken off"
        return case.image_id, left

    with ThreadPoolExecutor(16) as pool:
        return dict(pool.map(one, cases))


def url(port: int, image_id: str) -> str:
    return f"http://127.0.0.1:{port}/v1/images/{image_id}"


def named_row(*words: object) -> str:
    """An image id made of some words."""
    return "-".join(str(word).replace(" ", "") for word in words)


def refuse_wrong(left: Mapping[str, Left]) -> None:
    """Fail if a client left a wrong image; the message has its output."""
    judged = [(image_id, fault_of(one), one.output) for image_id, one in left.items()]
    faults = [f"{image_id}: {fault}\n{said}" for image_id, fault, said in judged if fault]
    if faults:
        pytest.fail("\n\n".join(faults), pytrace=False)


def demand_right(left: Mapping[str, Left]) -> None:
    """Fail if a client did not get the image."""
    refuse_wrong(left)
    failed = [f"{image_id}: failed\n{one.output}" for image_id, one in left.items() if not one[0]]
    if failed:
        pytest.fail("\n\n".join(failed), pytrace=False)


@pytest.mark.parametrize("client", downloads_by_client())
def test_wrong_data(world: World, tmp_path: Path, client: str) -> None:
    modes = itertools.cycle(MODES)
    cases = []
    for data, store in itertools.product(WRONG, STORES):
        case = Case(named_row(client, data, store), client, world.ports[next(modes)])
        world.record(case.image_id, client, world.location(store, data))
        cases.append(case)
    left = all_done(cases, tmp_path)
    refuse_wrong(left)
    assert not any(one.succeeded for one in left.values())


@pytest.mark.parametrize("client", downloads_by_client())
def test_right_data(world: World, tmp_path: Path, client: str) -> None:
    cases = []
    for store, mode in itertools.product(STORES, MODES):
        case = Case(named_row(client, "right", store, *mode), client, world.ports[mode])
        world.record(case.image_id, client, world.location(store, "right"))
        cases.append(case)
    demand_right(all_done(cases, tmp_path))


# The bytes at which connections break: in the first chunk, a later one and the last one.
BREAKS = (Break(100_000), Break(SIZE // 3), Break(SIZE - 10_000))


def breaks_of(client: str, broken: Break) -> Sequence[Break]:
    """The breaks for a client. aria2 asks for a quarter over each connection."""
    if client == "aria2c":
        return [broken._replace(after_bytes=broken.after_bytes // 5)] * 2
    return [broken]


@pytest.mark.parametrize("client", COMMANDS)
def test_right_data_over_a_line_that_breaks(world: World, tmp_path: Path, client: str) -> None:
    modes = itertools.cycle(MODES)
    cases = []
    for store, (number, broken) in itertools.product(STORES, enumerate(BREAKS)):
        image_id, port = named_row(client, "broken", store, number), world.ports[next(modes)]
        world.record(image_id, client, world.location(store, "right"))
        cases.append(Case(image_id, client, port, breaks_of(client, broken)))
    demand_right(all_done(cases, tmp_path))


@pytest.mark.parametrize("client", ["wget -c", "curl -C -", "aria2c"])
@pytest.mark.parametrize("data", ["right", "middle-byte"])
def test_killed_and_started_again(world: World, tmp_path: Path, client: str, data: str) -> None:
    left = {}
    for store, mode in zip(STORES, MODES, strict=False):
        image_id = named_row(client, "killed", data, store)
        world.record(image_id, client, world.location(store, data))
        target = tmp_path / image_id
        kill_in_the_middle(world.ports[mode], COMMANDS[client], image_id, target)
        resumed = COMMANDS[client].resumed
        left[image_id] = with_commands(resumed, url(world.ports[mode], image_id), target)
    if data == "right":
        demand_right(left)
    refuse_wrong(left)


def kill_in_the_middle(port: int, commands: Commands, image_id: str, target: Path) -> None:
    """Start a client, and stop it after it has stored a part of the image."""
    held = threading.Event()
    with Relay(port, [Break(SIZE // 5, held.set, holds=True)]) as relay:
        (first, *_) = commands.lines(url(relay.port, image_id), target.name)
        with started(first, target.parent) as process:
            assert held.wait(60)
            wait_until(lambda: target.exists() and target.stat().st_size > 0, "nothing is stored")
            # aria2 then saves a list of its parts; the others only have the file.
            process.terminate()
            process.communicate(timeout=60)


class Replaced(NamedTuple):
    """How the data of an image is replaced while a client downloads it."""

    store: str
    way: str

    def do(self, world: World, name: str) -> None:
        if self.store == "swift":
            world.put(name, OTHER, ["swift"])
        elif self.way == "rename":
            new = world.path(self.store, f"{name}.new")
            new.write_bytes(OTHER)
            new.replace(world.path(self.store, name))
        else:
            with world.path(self.store, name).open("r+b", buffering=0) as file:
                file.write(OTHER)


REPLACEMENTS = (
    Replaced("file", "rename"),
    Replaced("file", "in-place"),
    Replaced("http", "rename"),
    Replaced("http", "in-place"),
    Replaced("swift", "upload"),
)


# aria2 may have the end of the old, verified data before it asks for other parts.
SEQUENTIAL = [client for client in COMMANDS if client != "aria2c"]


def test_replaced_while_it_is_downloaded(world: World, tmp_path: Path) -> None:
    """The first connection breaks after the data was replaced. The record does not change."""
    modes = itertools.cycle(MODES)
    cases = []
    for client, replaced in itertools.product(SEQUENTIAL, REPLACEMENTS):
        image_id = named_row(client, "replaced", *replaced)
        world.put(image_id, DATA, [replaced.store])
        world.record(image_id, client, world.location(replaced.store, image_id))
        broken = Break(SIZE // 5, partial(replaced.do, world, image_id))
        cases.append(Case(image_id, client, world.ports[next(modes)], [broken]))
    settle(world.path("http", named_row(SEQUENTIAL[-1], "replaced", *REPLACEMENTS[3])))
    refuse_wrong(all_done(cases, tmp_path))


class Copies(NamedTuple):
    """An image in two places, the first of which has wrong data.

    :ivar broken: how the relay breaks the client's first connection.
    """

    name: str
    first: tuple[str, str]
    second: tuple[str, str]
    broken: Break | None = None
    size: int | None = SIZE


COPIES = (
    Copies("files", ("file", "middle-byte"), ("file", "right")),
    Copies("web", ("http", "last-byte"), ("http", "right")),
    Copies("web-then-file", ("http", "first-byte"), ("file", "right")),
    # These stores answer a range with the whole data.
    Copies("no-ranges", ("ssi", "middle-byte"), ("ssi", "right")),
    Copies("no-ranges-no-size", ("ssi", "middle-byte"), ("ssi", "right"), size=None),
    Copies("long-without-length", ("ssi", "too-long"), ("file", "right")),
    Copies("short-without-length", ("ssi", "truncated"), ("file", "right")),
    # By then the client has more bytes than the first copy.
    Copies("short", ("file", "short"), ("file", "right"), Break(SIZE // 2), size=None),
)


@pytest.mark.parametrize("client", COMMANDS)
def test_first_location_is_wrong(world: World, tmp_path: Path, client: str) -> None:
    """A file that begins with wrong data is not completed with right data of another location."""
    cases = []
    for copies, mode in itertools.product(COPIES, MODES):
        image_id = named_row(client, "copies", copies.name, *mode)
        locations = [world.location(*place) for place in (copies.first, copies.second)]
        world.record(image_id, client, *locations, size=copies.size)
        broken = [copies.broken] if copies.broken and client != "aria2c" else []
        cases.append(Case(image_id, client, world.ports[mode], broken))
    refuse_wrong(all_done(cases, tmp_path))


@pytest.mark.parametrize("client", [name for name in downloads_by_client() if name != "qemu-img"])
def test_empty_image(world: World, tmp_path: Path, client: str) -> None:
    digest = hashlib.md5(b"").hexdigest()
    cases = [Case(named_row(client, "empty", *mode), client, world.ports[mode]) for mode in MODES]
    for case in cases:
        world.deployment.record(case.image_id, size=0, checksum=digest)
    left = all_done(cases, tmp_path)
    assert {(one.succeeded, one.data) for one in left.values()} == {(True, b"")}


def test_qemu_img_info(world: World, tmp_path: Path) -> None:
    """It reads some clusters of a disk, in ranges."""
    raw, disk = tmp_path / "raw", world.path("file", "disk.qcow2")
    raw.write_bytes(DATA)
    convert = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(disk)]
    assert run_client(convert, tmp_path) == (0, ANY)
    md5 = hashlib.md5(disk.read_bytes()).hexdigest()
    location = world.location("file", disk.name)
    world.deployment.record("disk", size=disk.stat().st_size, checksum=md5, location=location)
    info = ["qemu-img", "info", "--output=json", url(world.ports[MODES[0]], "disk")]
    status, output = run_client(info, tmp_path)
    assert (status, json.loads(output.partition("\n")[2])["virtual-size"]) == (0, SIZE)


def test_service_restarts_in_between(world: World, tmp_path: Path) -> None:
    """A wrong file from before the restart of a service is not completed after it."""
    target = tmp_path / "restarted"
    curl = COMMANDS["curl -C -"]
    world.record("restarted", "curl -C -", world.location("file", "last-byte"))
    config_file = world.deployment.folder / "once-1.conf"
    for commands in (curl, curl.resumed):
        with serving(config_file) as port:
            status, output = run_client(
                next(commands.lines(url(port, "restarted"), target.name)), tmp_path
            )
        refuse_wrong({"restarted": left_of(target, status == 0, output)})
        assert status != 0
