# SPDX-License-Identifier: Apache-2.0
"""A large object in a real Swift: through imageapi, and straight."""

import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks import load, servers
from benchmarks.effort import Effort
from benchmarks.figures import Aim, Figure, Judged
from benchmarks.processes import PeakMemory, cpu_seconds
from benchmarks.workplace import LARGE_ID, Workplace, chunks
from tests.functional.swift import Swift, running_swift, section, v1_options

_AT_ONCE = (1, 8)
_CHUNK = 1024 * 1024

_FAST_ENOUGH = Aim(">=", 0.85)
_CHEAP_ENOUGH = Aim("<", 0.5)
_LITTLE_ENOUGH = Aim("<=", 4.0)

_THROUGH = f"/v1/images/{LARGE_ID}"
_STRAIGHT = f"/v1/AUTH_acme/images/{LARGE_ID}"

_CONFIG = """\
[imageapi]
registry = swift
stores = swift
[imageapi_registry_swift]
container = records
auth_section = cloud
[imageapi_store_swift]
container = images
auth_section = cloud
[cloud]
{cloud}
"""


class _Turn(NamedTuple):
    """What came of some downloads at once, for each GiB."""

    mib_per_second: float
    our_cpu: float
    proxy_cpu: float


def measure(workplace: Workplace, effort: Effort) -> Iterator[Figure]:
    """All figures, once imageapi knows the data to be right."""
    folder = workplace.folder / "swift"
    folder.mkdir()
    with running_swift(folder / "servers") as swift:
        _upload(swift, effort)
        with servers.imageapi(servers.GUNICORN, _configure(swift, folder)) as ours:
            load.download(ours.port, _THROUGH, effort.size)
            for count in _AT_ONCE:
                yield from _figures(count, ours, swift, effort)
            yield from _memory(ours, effort)


def _upload(swift: Swift, effort: Effort) -> None:
    client = swift.client()
    for container in ("records", "images"):
        # Everybody may read it, so that what asks straight needs no token.
        client.put_container(container, headers={"X-Container-Read": ".r:*"})
    md5 = hashlib.md5(usedforsecurity=False)

    def hashed() -> Iterator[bytes]:
        for chunk in chunks(effort.size_mib):
            md5.update(chunk)
            yield chunk

    client.put_object("images", LARGE_ID, hashed())
    record = {"status": "active", "is_public": True, "size": effort.size}
    record["checksum"] = md5.hexdigest()
    client.put_object("records", f"{LARGE_ID}.json", json.dumps(record))
    client.close()


def _configure(swift: Swift, folder: Path) -> Path:
    config = folder / "imageapi.conf"
    config.write_text(_CONFIG.format(cloud=section(v1_options(swift))))
    return config


def _figures(count: int, ours: servers.Served, swift: Swift, effort: Effort) -> Iterator[Figure]:
    proxy = swift.processes["proxy"].pid
    through, straight = defaultdict[str, list[float]](list), list[float]()
    for _ in range(effort.rounds):
        turn = _take_turn(ours.port, _THROUGH, count, (ours.pid, proxy), effort)
        for name, value in turn._asdict().items():
            through[name].append(value)
        turn = _take_turn(swift.ports["proxy"], _STRAIGHT, count, (ours.pid, proxy), effort)
        straight.append(turn.mib_per_second)
    yield Figure(
        name=f"gunicorn, verified download, {count} at once",
        unit="MiB/s",
        ours=through["mib_per_second"],
        theirs=straight,
        against="straight",
        aim=_FAST_ENOUGH,
    )
    yield Figure(
        name=f"gunicorn, verified download, {count} at once",
        unit="server CPU s/GiB",
        ours=through["our_cpu"],
        theirs=through["proxy_cpu"],
        against="Swift's proxy",
        aim=_CHEAP_ENOUGH,
    )


def _take_turn(port: int, path: str, count: int, pids: tuple[int, int], effort: Effort) -> _Turn:
    before = [cpu_seconds(pid) for pid in pids]
    began = time.perf_counter()
    load.download_together(port, path, effort.size, count)
    seconds = time.perf_counter() - began
    mib = count * effort.size_mib
    cpu = [(cpu_seconds(pid) - start) * 1024 / mib for pid, start in zip(pids, before, strict=True)]
    return _Turn(mib / seconds, *cpu)


def _memory(ours: servers.Served, effort: Effort) -> Iterator[Figure]:
    for count in _AT_ONCE:
        peak = PeakMemory(ours.pid)
        load.download_together(ours.port, _THROUGH, effort.size, count)
        yield Figure(
            name=f"gunicorn, peak growth, {count} at once",
            unit="chunks each",
            ours=[peak.growth() / _CHUNK / count],
            judged=Judged.ITSELF,
            aim=_LITTLE_ENOUGH,
        )
