# SPDX-License-Identifier: Apache-2.0
"""A large image: how fast, how soon, at what cost in processor time and memory."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from benchmarks import load, servers
from benchmarks.effort import Effort
from benchmarks.figures import Aim, Figure, Judged
from benchmarks.image_ids import SMALL_SIZE
from benchmarks.processes import PeakMemory, cpu_seconds, largest_peak
from benchmarks.upstreams import (
    FILE,
    GLANCE,
    HTTP,
    NGINX,
    NGINX_PROXY,
    S3,
    S3_ITSELF,
    SWIFT,
    SWIFT_ITSELF,
    Side,
    ours,
)
from benchmarks.workplace import Workplace

_SERVERS = (servers.GUNICORN, servers.UWSGI)
_AT_ONCE = 8
_MIB = 1024 * 1024

_FIRST, _SINGLE, _TOGETHER = "first", "verified", f"{_AT_ONCE} at once"

_FASTER_THAN_NGINX = Aim(">=", 1.3)
_NO_DEARER_THAN_NGINX = Aim("<=", 1.0)
_FAST_ENOUGH_THROUGH = Aim(">=", 0.85)
_CHEAPER_THAN_SWIFT = Aim("<", 0.5)
_SMALL_WORKER = Aim("<", 60.0)
_FEW_CHUNKS = Aim("<=", 4.0)  # of 1 MiB


class _Compared(NamedTuple):
    """What a kind of backend is held against, and the aims there."""

    against: str
    speed: Aim | None = None
    cpu: Aim | None = None


_COMPARISONS: Mapping[str, Sequence[_Compared]] = {
    FILE: (
        _Compared(NGINX, _FASTER_THAN_NGINX, _NO_DEARER_THAN_NGINX),
        _Compared(GLANCE),
    ),
    HTTP: (
        _Compared(NGINX, _FAST_ENOUGH_THROUGH),
        _Compared(NGINX_PROXY),
    ),
    SWIFT: (_Compared(SWIFT_ITSELF, _FAST_ENOUGH_THROUGH, _CHEAPER_THAN_SWIFT),),
    S3: (_Compared(S3_ITSELF, _FAST_ENOUGH_THROUGH, _CHEAPER_THAN_SWIFT),),
}


class _Turn(NamedTuple):
    """What came of some downloads: of each GiB, but for the first byte."""

    mib_per_second: float
    cpu_seconds: float
    first_byte_ms: float


# What of them is told, and its unit.
_MAIN_FIELDS = {"mib_per_second": "MiB/s", "cpu_seconds": "server CPU s/GiB"}
_ALL_FIELDS = {**_MAIN_FIELDS, "first_byte_ms": "ms to the first byte"}


class _Numbers:
    """All numbers of one side, one a round."""

    def __init__(self) -> None:
        self.turns: dict[str, list[_Turn]] = defaultdict(list)
        self.resident: list[float] = []
        self.growth: dict[str, list[float]] = defaultdict(list)

    def of(self, case: str, field: str) -> list[float]:
        """One field of all turns of a case."""
        return [getattr(turn, field) for turn in self.turns[case]]


def measure(workplace: Workplace, effort: Effort) -> Iterator[Figure]:
    """All figures; each round begins with imageapis that have verified nothing yet."""
    others = workplace.upstreams
    straight = {**others.straight, S3_ITSELF: others.s3_straight}
    configs = {**others.configs, S3: others.s3_config}
    workplace.settle()
    numbers: dict[str, _Numbers] = defaultdict(_Numbers)
    for _ in range(effort.restarts):
        for name, side in straight.items():
            _take_turns(side, effort, numbers[name], (_SINGLE, _TOGETHER))
        for kind, config in configs.items():
            for server in _SERVERS:
                with servers.imageapi(server, config) as served:
                    _measure_fresh(ours(served), effort, numbers[f"{server}, {kind}"])
    for kind in configs:
        for server in _SERVERS:
            yield from _figures(f"{server}, {kind}", _COMPARISONS[kind], numbers)


def _measure_fresh(side: Side, effort: Effort, numbers: _Numbers) -> None:
    # Every thread and all code at work once, which is no matter of downloads.
    load.ask(side.server.port, load.questions([side.small], SMALL_SIZE), 16, 0.3)
    _take_turns(side, effort, numbers, (_FIRST, _SINGLE, _TOGETHER))
    numbers.resident.append(largest_peak(side.server.pid) / _MIB)


def _take_turns(side: Side, effort: Effort, numbers: _Numbers, cases: Sequence[str]) -> None:
    for case in cases:
        count = _AT_ONCE if case == _TOGETHER else 1
        memory, before = PeakMemory(side.server.pid), cpu_seconds(side.server.pid)
        done = _download(side, effort, count)
        used = cpu_seconds(side.server.pid) - before
        gib = count * effort.size_mib / 1024
        numbers.turns[case].append(
            _Turn(gib * 1024 / done.seconds, used / gib, done.first_byte * 1000)
        )
        numbers.growth[case].append(memory.growth() / _MIB / count)


def _download(side: Side, effort: Effort, count: int) -> load.Download:
    if count == 1:
        return load.download(side.server.port, side.large, effort.size)
    return load.download_together(side.server.port, side.large, effort.size, count)


def _figures(
    name: str, comparisons: Sequence[_Compared], numbers: Mapping[str, _Numbers]
) -> Iterator[Figure]:
    own = numbers[name]
    for compared in comparisons:
        for case in (_FIRST, _SINGLE, _TOGETHER):
            # What verifies, and how soon data comes, is told beside the nearest relative only.
            if compared is comparisons[0]:
                yield from _beside(f"{name}, {case}", own, numbers, case, compared, _ALL_FIELDS)
            elif case != _FIRST:
                yield from _beside(f"{name}, {case}", own, numbers, case, compared, _MAIN_FIELDS)
    for case in (_SINGLE, _TOGETHER):
        yield Figure(
            name=f"{name}, {case}, peak growth of each",
            unit="MiB",
            ours=own.growth[case],
            judged=Judged.ITSELF,
            aim=_FEW_CHUNKS,
        )
    yield Figure(
        name=f"{name}, largest process, at its peak",
        unit="MiB",
        ours=own.resident,
        judged=Judged.ITSELF,
        aim=_SMALL_WORKER,
    )


def _beside(
    name: str,
    own: _Numbers,
    numbers: Mapping[str, _Numbers],
    case: str,
    compared: _Compared,
    fields: Mapping[str, str],
) -> Iterator[Figure]:
    """The figures of one case; where imageapi verifies there is no aim."""
    aims = {"mib_per_second": compared.speed, "cpu_seconds": compared.cpu}
    theirs = numbers[compared.against]
    for field, unit in fields.items():
        yield Figure(
            name=name,
            unit=unit,
            ours=own.of(case, field),
            theirs=theirs.of(_SINGLE if case == _FIRST else case, field),
            against=compared.against,
            aim=None if case == _FIRST else aims.get(field),
        )
