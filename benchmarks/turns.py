# SPDX-License-Identifier: Apache-2.0
"""Servers under load of small requests, one at a time, in turns."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks import load
from benchmarks.effort import Effort
from benchmarks.processes import cpu_seconds
from benchmarks.servers import Served


@dataclass
class Numbers:
    """Of one server, a number a round.

    :ivar rates: requests a second.
    :ivar server_cpu: microseconds of a core a request, of the server.
    :ivar client_busy: how much of a core the client took, in percent.
    """

    rates: list[float] = field(default_factory=list)
    server_cpu: list[float] = field(default_factory=list)
    client_busy: list[float] = field(default_factory=list)


def take_turns(
    sides: Mapping[str, tuple[Served, load.Questions]], connections: int, effort: Effort
) -> Mapping[str, Numbers]:
    """Ask each in every round, after a turn that does not count."""
    numbers: Mapping[str, Numbers] = defaultdict(Numbers)
    for server, asked in sides.values():
        load.ask(server.port, asked, connections, effort.seconds / 2)
    for _ in range(effort.rounds):
        for name, (server, asked) in sides.items():
            _take_turn(server, asked, connections, effort.seconds, numbers[name])
    return numbers


def _take_turn(
    server: Served, asked: load.Questions, connections: int, seconds: float, numbers: Numbers
) -> None:
    before = cpu_seconds(server.pid)
    result = load.ask(server.port, asked, connections, seconds)
    used = cpu_seconds(server.pid) - before
    numbers.rates.append(result.rate)
    numbers.server_cpu.append(used / result.answers * 1e6)
    numbers.client_busy.append(result.client_cpu / result.seconds * 100)
