# SPDX-License-Identifier: Apache-2.0
"""Requests a second with more records, and with more properties in each."""

from collections.abc import Iterator
from contextlib import ExitStack

from benchmarks import load, servers
from benchmarks.effort import Effort
from benchmarks.figures import Aim, Figure, Judged
from benchmarks.image_ids import SMALL_SIZE, paths
from benchmarks.processes import largest_peak
from benchmarks.turns import Numbers, take_turns
from benchmarks.workplace import Workplace

_SERVERS = (servers.GUNICORN, servers.UWSGI)
_CONNECTIONS = 16

# Different requests before the first is asked again.
_REQUESTS = 100_000

_NO_SLOWER = Aim(">=", 0.8)
_SMALL_WORKER = Aim("<", 60.0)

_MIB = 1024 * 1024


def cases(effort: Effort) -> dict[str, tuple[int, int]]:
    """How many records, and how many properties in each; the first is what others are held to."""
    return {
        "1 record": (1, 1),
        "1000 records": (1000, 1),
        f"{effort.records} records": (effort.records, 1),
        "10 properties": (1, 10),
        "70 properties": (1, 70),
    }


def measure(workplace: Workplace, effort: Effort) -> Iterator[Figure]:
    """All figures; each case has a server, all of a kind run at once, one is loaded at a time."""
    deployments = {name: workplace.small(*case) for name, case in cases(effort).items()}
    asked = {
        name: load.questions(paths(records, _REQUESTS), SMALL_SIZE)
        for name, (records, _) in cases(effort).items()
    }
    workplace.settle()
    for server in _SERVERS:
        with ExitStack() as stack:
            sides = {}
            for name, deployment in deployments.items():
                served = stack.enter_context(servers.imageapi(server, deployment.config_file))
                sides[name] = (served, asked[name])
            numbers = take_turns(sides, _CONNECTIONS, effort)
            one, *_ = numbers.values()
            for name, (served, _) in sides.items():
                case = f"{server}, {_CONNECTIONS} conn, {name}"
                yield from _figures(case, numbers[name], one, largest_peak(served.pid) / _MIB)


def _figures(case: str, numbers: Numbers, one: Numbers, peak: float) -> Iterator[Figure]:
    if numbers is not one:
        yield Figure(
            name=case,
            unit="requests/s",
            ours=numbers.rates,
            theirs=one.rates,
            against="1 record",
            aim=_NO_SLOWER,
        )
    yield Figure(
        name=f"{case}, largest process, at its peak",
        unit="MiB",
        ours=[peak],
        judged=Judged.ITSELF,
        aim=_SMALL_WORKER,
    )
