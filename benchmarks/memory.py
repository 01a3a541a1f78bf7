# SPDX-License-Identifier: Apache-2.0
"""How much a worker grows with one download of a large image, and with eight."""

from collections import defaultdict
from collections.abc import Iterator

from benchmarks import load, servers
from benchmarks.effort import Effort
from benchmarks.figures import Aim, Figure, Judged
from benchmarks.processes import PeakMemory
from benchmarks.workplace import LARGE_ID, SMALL_SIZE, Workplace, paths

_SERVERS = (servers.GUNICORN, servers.UWSGI)
_AT_ONCE = 8
_CHUNK = 1024 * 1024

_LITTLE_ENOUGH = Aim("<=", 3.0)

_LARGE = f"/v1/images/{LARGE_ID}"


def measure(workplace: Workplace, effort: Effort) -> Iterator[Figure]:
    """All figures; each round begins with servers that have sent nothing large yet."""
    single: dict[str, list[float]] = defaultdict(list)
    together: dict[str, list[float]] = defaultdict(list)
    deployment = workplace.large
    workplace.settle()
    for _ in range(effort.restarts):
        for name in _SERVERS:
            with servers.imageapi(name, deployment.config_file) as server:
                _warm_up(server)
                peak = PeakMemory(server.pid)
                load.download(server.port, _LARGE, effort.size)
                single[name].append(peak.growth() / _CHUNK)
                load.download_together(server.port, _LARGE, effort.size, _AT_ONCE)
                together[name].append(peak.growth() / _CHUNK / _AT_ONCE)
    for name in _SERVERS:
        yield _figure(f"{name}, peak growth, 1 download", single[name])
        yield _figure(f"{name}, peak growth, {_AT_ONCE} at once", together[name])


def _warm_up(server: servers.Served) -> None:
    """Have every thread and all code at work once, which is no matter of downloads."""
    requests = load.requests_for(paths(1, 1))
    load.ask(server, requests, SMALL_SIZE, connections=16, seconds=0.3)


def _figure(name: str, chunks: list[float]) -> Figure:
    return Figure(
        name=name,
        unit="chunks each",
        ours=chunks,
        judged=Judged.ITSELF,
        aim=_LITTLE_ENOUGH,
    )
