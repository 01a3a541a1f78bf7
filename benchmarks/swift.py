# SPDX-License-Identifier: Apache-2.0
"""Objects in a real Swift: through imageapi, and straight."""

import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import load, servers
from benchmarks.effort import Effort
from benchmarks.figures import Aim, Figure, Judged
from benchmarks.processes import PeakMemory, cpu_seconds
from benchmarks.workplace import LARGE_ID, Workplace, chunks
from tests.functional.swift import Swift, configuration, running_swift, v1_options

_AT_ONCE = (1, 8)
_CONNECTIONS = 8
_SMALL_SIZE = 1024
_CHUNK = 1024 * 1024

_FAST_ENOUGH = Aim(">=", 0.85)
_CHEAP_ENOUGH = Aim("<", 0.5)
_LITTLE_ENOUGH = Aim("<=", 4.0)

_THROUGH = "/v1/images/"
_STRAIGHT = "/v1/AUTH_acme/images/"


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
            for count in _AT_ONCE:
                load.download(ours.port, _THROUGH + _name(count), effort.size // count)
                yield from _figures(count, ours, swift, effort)
            yield from _memory(ours, effort)
            yield from _requests(ours, swift, effort)


def _name(count: int) -> str:
    """The object that is downloaded so often at once; all of them together have one size."""
    return f"{LARGE_ID}-{count}"


def _upload(swift: Swift, effort: Effort) -> None:
    client = swift.client()
    for container in ("records", "images"):
        # Everybody may read it, so that what asks straight needs no token.
        client.put_container(container, headers={"X-Container-Read": ".r:*"})
    for count in _AT_ONCE:
        _put(client, _name(count), list(chunks(effort.size_mib // count)))
    _put(client, "small", [bytes(_SMALL_SIZE)])
    client.close()


def _put(client: Any, name: str, data: list[bytes]) -> None:
    md5 = hashlib.md5(usedforsecurity=False)
    for chunk in data:
        md5.update(chunk)
    client.put_object("images", name, iter(data))
    record = {"status": "active", "is_public": True, "size": sum(map(len, data))}
    record["checksum"] = md5.hexdigest()
    client.put_object("records", f"{name}.json", json.dumps(record))


def _configure(swift: Swift, folder: Path) -> Path:
    config = folder / "imageapi.conf"
    config.write_text(configuration(v1_options(swift), policy="rules"))
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
    load.download_together(port, path + _name(count), effort.size // count, count)
    seconds = time.perf_counter() - began
    cpu = [
        (cpu_seconds(pid) - start) * 1024 / effort.size_mib
        for pid, start in zip(pids, before, strict=True)
    ]
    return _Turn(effort.size_mib / seconds, *cpu)


def _memory(ours: servers.Served, effort: Effort) -> Iterator[Figure]:
    for count in _AT_ONCE:
        peak = PeakMemory(ours.pid)
        load.download_together(ours.port, _THROUGH + _name(count), effort.size // count, count)
        yield Figure(
            name=f"gunicorn, peak growth, {count} at once",
            unit="chunks each",
            ours=[peak.growth() / _CHUNK / count],
            judged=Judged.ITSELF,
            aim=_LITTLE_ENOUGH,
        )


def _requests(ours: servers.Served, swift: Swift, effort: Effort) -> Iterator[Figure]:
    """Of a small image: one request of ours is two of Swift's, for the record and for the data."""
    straight = servers.Served(swift.ports["proxy"], swift.processes["proxy"].pid)
    rates: dict[str, list[float]] = defaultdict(list)
    cpu: dict[str, list[float]] = defaultdict(list)
    for _ in range(effort.rounds):
        for name, server, path in (("ours", ours, _THROUGH), ("straight", straight, _STRAIGHT)):
            before = cpu_seconds(server.pid)
            done = load.ask(
                server,
                load.requests_for([f"{path}small"]),
                _SMALL_SIZE,
                _CONNECTIONS,
                effort.seconds,
            )
            rates[name].append(done.rate)
            cpu[name].append((cpu_seconds(server.pid) - before) / done.answers * 1e6)
    about = f"gunicorn, 1 KiB, {_CONNECTIONS} conn"
    yield Figure(
        name=about,
        unit="requests/s",
        ours=rates["ours"],
        theirs=rates["straight"],
        against="straight",
    )
    yield Figure(
        name=about,
        unit="server CPU us/request",
        ours=cpu["ours"],
        theirs=cpu["straight"],
        against="Swift's proxy",
    )
