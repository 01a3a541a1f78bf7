# SPDX-License-Identifier: Apache-2.0
"""Many clients ask for one image at once, first while no cache has it, and then again."""

import dataclasses
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from benchmarks import caches
from benchmarks.caches import CACHED, GLANCE_CACHE, NGINX_CACHE, UNCACHED, VARNISH, Upstream
from benchmarks.crowd import Crowd, ask_at_once
from benchmarks.effort import Effort
from benchmarks.figures import Aim, Figure, Judged
from benchmarks.image_ids import LARGE_ID, SMALL_ID
from benchmarks.processes import PeakMemory, cpu_seconds
from benchmarks.sent_bytes import SentBytes
from benchmarks.upstreams import Side
from benchmarks.workplace import Timeline, Workplace
from tests.deployment import Deployment

_COLD, _WARM = "cold", "warm"
_OTHERS = (NGINX_CACHE, VARNISH, GLANCE_CACHE, UNCACHED)
_MIB = 1024 * 1024

# A log is written when a response has ended, which may be after its last byte came.
_UNTIL_LOGGED = 0.5

_NO_LATER = Aim("<=", 1.0)
_SOON = Aim("<", 0.1)
_ONCE = Aim("<=", 1.0)
_NEVER = Aim("<=", 0.0)
# 1.3 times nginx's throughput.
_FASTER_THAN_NGINX = Aim("<=", 0.77)
_NO_DEARER_THAN_NGINX = Aim("<=", 1.0)
# Over ASGI a chunk of a fast download has 768 KiB.
_TWO_CHUNKS = Aim("<=", 1.5)

_AIMS: Mapping[tuple[str, str, str], Aim] = {
    **{(_COLD, "end", other): _NO_LATER for other in (NGINX_CACHE, VARNISH, GLANCE_CACHE)},
    (_WARM, "end", NGINX_CACHE): _FASTER_THAN_NGINX,
    (_WARM, "cpu", NGINX_CACHE): _NO_DEARER_THAN_NGINX,
}

_UNITS = {"end": "s until the last end", "first_byte": "s to the slowest first byte"}
_CPU = {"cpu": "server CPU s/GiB"}


class _Turn(NamedTuple):
    """What came of one storm.

    :ivar fetched: what the upstream sent, in sizes of the image.
    :ivar growth: of the server's processes, in MiB for each client.
    """

    end: float
    first_byte: float
    fetched: float
    cpu: float
    growth: float


_Numbers = Mapping[str, Mapping[str, list[_Turn]]]


def measure(workplace: Workplace, effort: Effort) -> Iterator[Figure]:
    """All figures; in each round all servers start with an empty cache."""
    deployment = workplace.storm
    workplace.settle()
    folder = Path(tempfile.mkdtemp(prefix="storm-", dir=workplace.folder))
    with caches.upstreams(deployment, folder) as upstreams:
        by_kind: dict[str, dict[str, dict[str, list[_Turn]]]] = {
            kind: defaultdict(lambda: defaultdict(list)) for kind in upstreams
        }
        for number in range(effort.restarts):
            for kind, upstream in upstreams.items():
                for name, start in caches.CONTESTANTS.items():
                    # Without a cache a storm takes minutes: it is in the first round only.
                    if number and name == UNCACHED:
                        continue
                    own = Path(tempfile.mkdtemp(dir=folder))
                    with start(upstream, own, deployment) as side:
                        _warm_up(side, deployment, effort)
                        for case in (_COLD, _WARM):
                            turn, crowd = _storm(side, upstream, deployment, effort)
                            by_kind[kind][name][case].append(turn)
                            if case == _COLD:
                                timeline = _timeline(crowd, turn, effort)
                                workplace.timelines[kind, name] = timeline
                    shutil.rmtree(own)
    for kind, numbers in by_kind.items():
        yield from _figures(kind, numbers)


def _warm_up(side: Side, deployment: Deployment, effort: Effort) -> None:
    """Let all code run once, which is no matter of storms."""
    data = deployment.data_path(SMALL_ID)
    for _ in range(min(3, effort.rounds)):
        ask_at_once(side.server.port, side.small, data, 4, lambda: 0)


def _storm(
    side: Side, upstream: Upstream, deployment: Deployment, effort: Effort
) -> tuple[_Turn, Crowd]:
    server = side.server
    memory, cpu, sent = PeakMemory(server.pid), cpu_seconds(server.pid), upstream.sent()
    crowd = ask_at_once(
        server.port,
        side.large,
        deployment.data_path(LARGE_ID),
        effort.clients,
        SentBytes(upstream.side.server.port).total,
    )
    used = cpu_seconds(server.pid) - cpu
    growth = memory.growth()
    time.sleep(_UNTIL_LOGGED)
    size_mib = effort.storm_mib
    turn = _Turn(
        end=max(crowd.ends),
        first_byte=max(crowd.first_bytes),
        fetched=(upstream.sent() - sent) / (size_mib * _MIB),
        cpu=used / (effort.clients * size_mib / 1024),
        growth=growth / _MIB / effort.clients,
    )
    return turn, crowd


def _timeline(crowd: Crowd, turn: _Turn, effort: Effort) -> Timeline:
    # The log has what a connection sent after the last sample.
    sent = round(turn.fetched * effort.storm_mib * _MIB)
    return Timeline([*crowd.sampled[:-1], sent], list(crowd.received))


def _figures(kind: str, numbers: _Numbers) -> Iterator[Figure]:
    for case in (_COLD, _WARM):
        fields = _UNITS if case == _COLD else {**_UNITS, **_CPU}
        for other in _OTHERS:
            for field, unit in fields.items():
                aim = _AIMS.get((case, field, other))
                yield _beside(f"{kind}, {case}", numbers, case, other, (field, unit), aim)
        for other in _OTHERS:
            # Nothing may come from the upstream, so a ratio has no meaning.
            name, fetched = f"{kind}, {case}, from the upstream", ("fetched", "images")
            aim = _ONCE if case == _COLD else _NEVER
            # It is imageapi's number alone, so one line has the aim.
            aim_here = aim if other == _OTHERS[0] else None
            figure = _beside(name, numbers, case, other, fetched, aim_here)
            yield dataclasses.replace(figure, judged=Judged.ITSELF)
    yield Figure(
        name=f"{kind}, {_COLD}, slowest first byte",
        unit="of the last end",
        ours=_of(numbers, CACHED, _COLD, "first_byte"),
        theirs=_of(numbers, CACHED, _COLD, "end"),
        against="its last end",
        aim=_SOON,
    )
    yield Figure(
        name=f"{kind}, {_COLD}, growth of the worker for each reader",
        unit="MiB",
        ours=_of(numbers, CACHED, _COLD, "growth"),
        judged=Judged.ITSELF,
        aim=_TWO_CHUNKS,
    )


def _beside(
    name: str,
    numbers: _Numbers,
    case: str,
    other: str,
    field_and_unit: tuple[str, str],
    aim: Aim | None,
) -> Figure:
    field, unit = field_and_unit
    theirs = _of(numbers, other, case, field)
    return Figure(
        name=name,
        unit=unit,
        ours=_of(numbers, CACHED, case, field)[: len(theirs)],
        theirs=theirs,
        against=other,
        aim=aim,
    )


def _of(numbers: _Numbers, name: str, case: str, field: str) -> list[float]:
    return [getattr(turn, field) for turn in numbers[name][case]]
