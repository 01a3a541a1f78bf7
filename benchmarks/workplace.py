# SPDX-License-Identifier: Apache-2.0
"""The deployments that are measured, in a folder that is removed at the end."""

import hashlib
import random
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import upstreams
from benchmarks.effort import Effort
from benchmarks.image_ids import LARGE_ID, SMALL_SIZE, image_ids
from benchmarks.upstreams import Upstreams
from tests.deployment import Deployment
from tests.paths import BIN

# A file's times identify its content only once they are older than this.
_SETTLED_SECONDS = 2.5

_MIB = 1024 * 1024


class Timeline(NamedTuple):
    """What came of a storm over time, in bytes, one number each `benchmarks.crowd.TICK`.

    :ivar sent: by the upstream.
    :ivar received: by all clients.
    """

    sent: Sequence[int]
    received: Sequence[int]


class Workplace:
    """Makes each deployment when it is first asked for.

    Call `settle` after asking for them and before measuring.
    """

    def __init__(self, folder: Path, effort: Effort, stack: ExitStack) -> None:
        """Make nothing yet.

        :param folder: empty.
        :param stack: is closed when all has been measured, and stops what runs.
        """
        self.folder = folder
        #: By the kind of upstream and the name of what is in front of it.
        self.timelines: dict[tuple[str, str], Timeline] = {}
        self._stack = stack
        self._effort = effort
        self._small: dict[tuple[int, int], Deployment] = {}
        self._written = time.monotonic()

    def small(self, records: int = 1, properties: int = 1) -> Deployment:
        """So many records with so many properties each, of 1 KiB."""
        key = (records, properties)
        if key not in self._small:
            name = f"{records}-records-{properties}-properties"
            self._small[key] = self._made(name, records, properties)
        return self._small[key]

    @cached_property
    def large(self) -> Deployment:
        """The large image, added as an operator would, and a small one to warm up with."""
        return self._with_large("with-large", self._effort.size_mib)

    @cached_property
    def storm(self) -> Deployment:
        """The same with the size of the image that many clients ask for at once."""
        return self._with_large("storm", self._effort.storm_mib)

    @cached_property
    def upstreams(self) -> Upstreams:
        """Other servers with the images of `large`."""
        return self._stack.enter_context(upstreams.running(self.large, self.folder))

    def settle(self) -> None:
        """Wait until the times of all files identify their content."""
        time.sleep(max(0.0, self._written + _SETTLED_SECONDS - time.monotonic()))

    def _with_large(self, name: str, size_mib: int) -> Deployment:
        deployment = self._made(name, records=1, properties=1)
        command = [BIN / "imageapi", "--config-file", deployment.config_file, "add", "-"]
        adding = subprocess.Popen(
            [*map(str, command), "--public", "--id", LARGE_ID],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        with adding as process:
            if process.stdin is not None:
                for chunk in chunks(size_mib):
                    process.stdin.write(chunk)
        if adding.returncode:
            raise RuntimeError("the large image could not be added")
        self._written = time.monotonic()
        return deployment

    def _made(self, name: str, records: int, properties: int) -> Deployment:
        deployment = Deployment(self.folder / name)
        data = random.Random(0).randbytes(SMALL_SIZE)
        fields = _fields(data, properties)
        first, *others = image_ids(records)
        deployment.add(first, data, **fields)
        # One file has the data of all, so that only the number of records differs.
        location = deployment.data_path(first).as_uri()
        for image_id in others:
            deployment.record(image_id, location=location, **fields)
        self._written = time.monotonic()
        return deployment


def chunks(count: int) -> Iterator[bytes]:
    """So many MiB, no two alike."""
    chunk = bytearray(random.Random(3).randbytes(_MIB))
    for number in range(count):
        chunk[:8] = number.to_bytes(8)
        yield bytes(chunk)


def _fields(data: bytes, properties: int) -> dict[str, Any]:
    """What a record says that was made by ``imageapi add``, or by Glance."""
    return {
        "name": "Ubuntu 10.04 Plain",
        "disk_format": "vhd",
        "container_format": "ovf",
        "size": len(data),
        "checksum": hashlib.md5(data, usedforsecurity=False).hexdigest(),
        "os_hash_algo": "sha512",
        "os_hash_value": hashlib.sha512(data).hexdigest(),
        "created_at": "2010-02-03 09:34:01",
        "updated_at": "2010-02-03 09:34:01",
        "min_ram": 256,
        "min_disk": 5,
        "owner": "9d6d2b5c4c5f4f6f8a1f0c5a3e1b7d20",
        "properties": {f"distro_{number}": "Ubuntu 10.04 LTS" for number in range(properties)},
    }
