# SPDX-License-Identifier: Apache-2.0
"""A large image beside nginx with the same file: MiB a second, and CPU time."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import NamedTuple

from benchmarks import load, servers
from benchmarks.effort import Effort
from benchmarks.figures import Aim, Figure
from benchmarks.processes import cpu_seconds
from benchmarks.workplace import LARGE_ID, Workplace

_SERVERS = (servers.GUNICORN, servers.UWSGI)
_NGINX = "nginx"
_NGINX_SENDFILE = "nginx, sendfile"

_FAST_ENOUGH = Aim(">=", 1.0)
_CHEAP_ENOUGH = Aim("<=", 1.2)


class _Side(NamedTuple):
    """A server, and the path of the image there."""

    server: servers.Served
    path: str


@dataclass
class _Numbers:
    """Of one side, a number a round."""

    mib_per_second: list[float] = field(default_factory=list)
    cpu_per_gib: list[float] = field(default_factory=list)


def measure(workplace: Workplace, effort: Effort) -> Iterator[Figure]:
    """All figures: while imageapi verifies the data, and once it knows it to be right."""
    with ExitStack() as stack:
        sides = _start(workplace, stack)
        # Before every round the file becomes one that imageapi has not seen.
        numbers = _take_turns(sides, effort, workplace.renew_large)
        yield from _figures("first", numbers)

        workplace.settle()
        for side in sides.values():
            load.download(side.server.port, side.path, effort.size)
        numbers = _take_turns(sides, effort, lambda: None)
        yield from _figures("verified", numbers, _FAST_ENOUGH, _CHEAP_ENOUGH)


def _start(workplace: Workplace, stack: ExitStack) -> Mapping[str, _Side]:
    deployment = workplace.large
    sides = {}
    for name, sendfile in ((_NGINX, False), (_NGINX_SENDFILE, True)):
        served = servers.nginx(deployment.images, workplace.folder, sendfile=sendfile)
        sides[name] = _Side(stack.enter_context(served), f"/{LARGE_ID}")
    for name in _SERVERS:
        served = servers.imageapi(name, deployment.config_file)
        sides[name] = _Side(stack.enter_context(served), f"/v1/images/{LARGE_ID}")
    return sides


def _take_turns(
    sides: Mapping[str, _Side], effort: Effort, before_round: Callable[[], None]
) -> Mapping[str, _Numbers]:
    numbers: Mapping[str, _Numbers] = defaultdict(_Numbers)
    for _ in range(effort.rounds):
        before_round()
        for name, side in sides.items():
            _take_turn(side, effort, numbers[name])
    return numbers


def _take_turn(side: _Side, effort: Effort, numbers: _Numbers) -> None:
    before = cpu_seconds(side.server.pid)
    seconds = load.download(side.server.port, side.path, effort.size)
    used = cpu_seconds(side.server.pid) - before
    numbers.mib_per_second.append(effort.size_mib / seconds)
    numbers.cpu_per_gib.append(used * 1024 / effort.size_mib)


def _figures(
    which: str, numbers: Mapping[str, _Numbers], fast: Aim | None = None, cheap: Aim | None = None
) -> Iterator[Figure]:
    for server in _SERVERS:
        ours = numbers[server]
        for nginx in (_NGINX, _NGINX_SENDFILE):
            theirs = numbers[nginx]
            yield Figure(
                name=f"{server}, {which} download",
                unit="MiB/s",
                ours=ours.mib_per_second,
                theirs=theirs.mib_per_second,
                against=nginx,
                aim=fast,
            )
            yield Figure(
                name=f"{server}, {which} download",
                unit="server CPU s/GiB",
                ours=ours.cpu_per_gib,
                theirs=theirs.cpu_per_gib,
                against=nginx,
                aim=cheap,
            )
