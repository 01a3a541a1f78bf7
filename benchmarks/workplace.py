# SPDX-License-Identifier: Apache-2.0
"""The deployments that are measured, in a folder that is removed at the end."""

import hashlib
import os
import random
import subprocess
import time
import uuid
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.effort import Effort
from tests.deployment import Deployment
from tests.functional.servers import BIN

SMALL_SIZE = 1024
LARGE_ID = "large"

# A file's times identify its content only once they are older than this.
_SETTLED_SECONDS = 2.5

_MIB = 1024 * 1024


class Workplace:
    """Makes each deployment when it is first asked for.

    Call `settle` after asking for them and before measuring.
    """

    def __init__(self, folder: Path, effort: Effort) -> None:
        self.folder = folder
        self._effort = effort
        self._written = time.monotonic()

    @cached_property
    def one(self) -> Deployment:
        """One record with one property, of 1 KiB."""
        return self._small("one", records=1, properties=1)

    @cached_property
    def many(self) -> Deployment:
        """As many records as the effort says, each like that of `one`."""
        return self._small("many", records=self._effort.records, properties=1)

    @cached_property
    def seventy(self) -> Deployment:
        """One record with as many properties as are sent at the most."""
        return self._small("seventy", records=1, properties=70)

    @cached_property
    def large(self) -> Deployment:
        """The large image, added as an operator would, and a small one to warm up with."""
        deployment = self._small("with-large", records=1, properties=1)
        command = [BIN / "imageapi", "--config-file", deployment.config_file, "add", "-"]
        adding = subprocess.Popen(
            [*map(str, command), "--id", LARGE_ID],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        with adding as process:
            if process.stdin is not None:
                for chunk in chunks(self._effort.size_mib):
                    process.stdin.write(chunk)
        if adding.returncode:
            raise RuntimeError("the large image could not be added")
        self._written = time.monotonic()
        return deployment

    def renew_large(self) -> None:
        """Make the large image's data one that no server has verified yet."""
        os.utime(self.large.data_path(LARGE_ID))
        self._written = time.monotonic()

    def settle(self) -> None:
        """Wait until the times of all files identify their content."""
        time.sleep(max(0.0, self._written + _SETTLED_SECONDS - time.monotonic()))

    def _small(self, name: str, records: int, properties: int) -> Deployment:
        deployment = Deployment(self.folder / name)
        data = random.Random(0).randbytes(SMALL_SIZE)
        # One file has the data of all, so that only the number of records differs.
        shared = deployment.images / "shared"
        shared.write_bytes(data)
        fields = _fields(data, properties)
        for image_id in image_ids(records):
            deployment.record(image_id, location=shared.as_uri(), **fields)
        self._written = time.monotonic()
        return deployment


def image_ids(count: int) -> list[str]:
    """The ids of that many images; always the same ones."""
    chance = random.Random(1)
    return [str(uuid.UUID(int=chance.getrandbits(128))) for _ in range(count)]


def paths(records: int, count: int) -> list[str]:
    """That many paths of images, spread at random over the records."""
    ids = image_ids(records)
    return [f"/v1/images/{image_id}" for image_id in random.Random(2).choices(ids, k=count)]


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
