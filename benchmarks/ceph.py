# SPDX-License-Identifier: Apache-2.0
"""A large image in Ceph RBD, beside ``rbd export``, which only reads it."""

import json
import resource
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from benchmarks import load, servers
from benchmarks.effort import Effort
from benchmarks.figures import Aim, Figure, Judged
from benchmarks.image_ids import LARGE_ID, path_of
from benchmarks.processes import PeakMemory, cpu_seconds
from benchmarks.workplace import Workplace, chunks
from tests.functional.ceph import USER, Ceph, running_ceph

_SERVERS = (servers.GUNICORN, servers.UWSGI)
_MIB = 1024 * 1024

#: How many downloads at once, and the part of the speed of as many exports.
_AIMS: Mapping[int, Aim] = {1: Aim(">=", 0.85), 8: Aim(">=", 0.9)}
_TWO_CHUNKS = Aim("<=", 4.0)  # of 2 MiB

_CONFIGURATION = """\
[imageapi]
stores = rbd
[imageapi_registry_file]
directory = {registry}
[imageapi_store_rbd]
ceph_conf = {config}
user = {user}
pool = {pool}
"""


class _Turn(NamedTuple):
    """What some downloads or exports took; the processor time is that of a GiB."""

    mib_per_second: float
    cpu_seconds: float
    growth: float = 0.0


def measure(workplace: Workplace, effort: Effort) -> Iterator[Figure]:
    """All figures; the data was verified before."""
    folder = workplace.folder / "ceph"
    folder.mkdir()
    deployment = workplace.large
    with running_ceph(folder, memory=2 * effort.size + 1024**3) as ceph:
        # As many placement groups as a pool has by default.
        pool = ceph.new_pool(groups=32)
        ceph.put_chunks(pool, "large", effort.size, chunks(effort.size_mib))
        config = _configuration(ceph, pool, deployment.record_path(LARGE_ID))
        turns: dict[tuple[str, int], list[_Turn]] = defaultdict(list)
        for server in _SERVERS:
            with servers.imageapi(server, config) as served:
                load.download(served.port, path_of(LARGE_ID), effort.size)
                for _ in range(effort.rounds):
                    for count in _AIMS:
                        turns[f"export, {server}", count].append(_export(ceph, pool, effort, count))
                        turns[server, count].append(_download(served, effort, count))
    for server in _SERVERS:
        for count, aim in _AIMS.items():
            ours, theirs = turns[server, count], turns[f"export, {server}", count]
            yield from _figures(f"{server}, rbd, {count} at once", ours, theirs, aim)


def _configuration(ceph: Ceph, pool: str, record: Path) -> Path:
    """Write an imageapi's configuration, and its record of the image."""
    registry = ceph.config.parent / "registry"
    registry.mkdir()
    fields = json.loads(record.read_text())
    fields["images"][0]["location"] = ceph.url(pool, "large")
    (registry / record.name).write_text(json.dumps(fields))
    config = ceph.config.parent / "imageapi.conf"
    config.write_text(
        _CONFIGURATION.format(registry=registry, config=ceph.config, user=USER, pool=pool)
    )
    return config


def _download(served: servers.Served, effort: Effort, count: int) -> _Turn:
    memory, before = PeakMemory(served.pid), cpu_seconds(served.pid)
    path = path_of(LARGE_ID)
    if count == 1:
        seconds = load.download(served.port, path, effort.size).seconds
    else:
        seconds = load.download_together(served.port, path, effort.size, count).seconds
    gib = count * effort.size_mib / 1024
    return _Turn(
        gib * 1024 / seconds,
        (cpu_seconds(served.pid) - before) / gib,
        memory.growth() / _MIB / count,
    )


def _export(ceph: Ceph, pool: str, effort: Effort, count: int) -> _Turn:
    """Read the image so often at once with Ceph's own command, and discard the data."""
    started, before = time.perf_counter(), _cpu_of_ended()
    exports = [ceph.exporting(pool, "large") for _ in range(count)]
    with ThreadPoolExecutor(count) as threads:
        sizes = list(threads.map(_discard, exports))
    if sizes != [effort.size] * count:
        raise RuntimeError(f"rbd export wrote {sizes} bytes")
    seconds, gib = time.perf_counter() - started, count * effort.size_mib / 1024
    return _Turn(gib * 1024 / seconds, (_cpu_of_ended() - before) / gib)


def _discard(export: subprocess.Popen[bytes]) -> int:
    """Return how many bytes a command has written."""
    buffer, size = bytearray(_MIB), 0
    with export:
        assert export.stdout is not None
        while count := export.stdout.readinto(buffer):  # type: ignore[attr-defined]  # a buffered reader
            size += count
    return size


def _cpu_of_ended() -> float:
    """Seconds of the processor time of all commands that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _figures(
    name: str, ours: Sequence[_Turn], theirs: Sequence[_Turn], aim: Aim
) -> Iterator[Figure]:
    for field, unit in {"mib_per_second": "MiB/s", "cpu_seconds": "CPU s/GiB"}.items():
        yield Figure(
            name=name,
            unit=unit,
            ours=[getattr(turn, field) for turn in ours],
            theirs=[getattr(turn, field) for turn in theirs],
            against="rbd export",
            aim=aim if field == "mib_per_second" else None,
        )
    yield Figure(
        name=f"{name}, peak growth of each",
        unit="MiB",
        ours=[turn.growth for turn in ours],
        judged=Judged.ITSELF,
        aim=_TWO_CHUNKS,
    )
