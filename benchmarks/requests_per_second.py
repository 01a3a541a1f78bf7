# SPDX-License-Identifier: Apache-2.0
"""Requests a second of a 1 KiB image, beside a constant with the same headers."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import NamedTuple

from benchmarks import load, servers
from benchmarks.effort import Effort
from benchmarks.figures import Aim, Figure, Judged
from benchmarks.processes import cpu_seconds
from benchmarks.workplace import SMALL_SIZE, Workplace, paths

_SERVERS = (servers.GUNICORN, servers.UWSGI, servers.UWSGI_CLOSING)
_CONNECTIONS = (1, 16)

_ENOUGH = Aim(">=", 0.7)
_NO_SLOWER = Aim(">=", 0.9)

# Different requests before the first is asked again.
_REQUESTS = 100_000


class _Side(NamedTuple):
    """A server under load, and what it is asked."""

    server: servers.Served
    requests: Iterator[bytes]


@dataclass
class _Numbers:
    """Of one side, a number a round."""

    rates: list[float] = field(default_factory=list)
    server_cpu: list[float] = field(default_factory=list)
    client_busy: list[float] = field(default_factory=list)


def measure(workplace: Workplace, effort: Effort) -> Iterator[Figure]:
    """All figures; all servers of a kind run at once, and one at a time is loaded."""
    one, many = workplace.one, workplace.many
    workplace.settle()
    few_paths, many_paths = paths(1, 1), paths(effort.records, _REQUESTS)
    few_requests, many_requests = load.requests_for(few_paths), load.requests_for(many_paths)
    for name in _SERVERS:
        with ExitStack() as stack:
            small = stack.enter_context(servers.imageapi(name, one.config_file))
            large = stack.enter_context(servers.imageapi(name, many.config_file))
            constant = stack.enter_context(
                servers.constant(name, small, few_paths[0], workplace.folder)
            )
            sides = {
                "one": _Side(small, few_requests),
                "constant": _Side(constant, few_requests),
                "many": _Side(large, many_requests),
            }
            for connections in _CONNECTIONS:
                numbers = _take_turns(sides, connections, effort)
                yield from _figures(f"{name}, {connections} conn", numbers, effort.records)


def _take_turns(
    sides: Mapping[str, _Side], connections: int, effort: Effort
) -> Mapping[str, _Numbers]:
    numbers: Mapping[str, _Numbers] = defaultdict(_Numbers)
    for side in sides.values():
        load.ask(side.server, side.requests, SMALL_SIZE, connections, effort.seconds / 2)
    for _ in range(effort.rounds):
        for name, side in sides.items():
            _take_turn(side, connections, effort.seconds, numbers[name])
    return numbers


def _take_turn(side: _Side, connections: int, seconds: float, numbers: _Numbers) -> None:
    server = side.server
    before = cpu_seconds(server.pid)
    result = load.ask(server, side.requests, SMALL_SIZE, connections, seconds)
    used = cpu_seconds(server.pid) - before
    numbers.rates.append(result.rate)
    numbers.server_cpu.append(used / result.answers * 1e6)
    numbers.client_busy.append(result.client_cpu / result.seconds * 100)


def _figures(case: str, numbers: Mapping[str, _Numbers], records: int) -> Iterator[Figure]:
    one, constant, many = numbers["one"], numbers["constant"], numbers["many"]
    for ours, size in ((one, "1 record"), (many, f"{records} records")):
        yield Figure(
            name=f"{case}, {size}",
            unit="requests/s",
            ours=ours.rates,
            theirs=constant.rates,
            against="constant",
            aim=_ENOUGH,
        )
        yield Figure(
            name=f"{case}, {size}",
            unit="server CPU us/request",
            ours=ours.server_cpu,
            theirs=constant.server_cpu,
            against="constant",
        )
    yield Figure(
        name=f"{case}, {records} records",
        unit="requests/s",
        ours=many.rates,
        theirs=one.rates,
        against="1 record",
        aim=_NO_SLOWER,
    )
    yield Figure(
        name=f"{case}, load client",
        unit="% of a core",
        ours=one.client_busy,
        theirs=constant.client_busy,
        against="constant",
        judged=Judged.ITSELF,
    )
