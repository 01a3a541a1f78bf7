# SPDX-License-Identifier: Apache-2.0
"""Requests a second of a 1 KiB image, beside a constant, nginx, Swift and Glance."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from benchmarks import load, servers
from benchmarks.effort import Effort
from benchmarks.figures import Aim, Figure, Judged
from benchmarks.image_ids import SMALL_SIZE
from benchmarks.turns import Numbers, take_turns
from benchmarks.upstreams import FILE, GLANCE, HTTP, NGINX, SWIFT, SWIFT_ITSELF, Side, ours
from benchmarks.workplace import Workplace

_SERVERS = (servers.GUNICORN, servers.UWSGI)
_METHODS = ("GET", "HEAD")
_CONNECTIONS = (1, 16)

_CONSTANT = "constant"

_NEAR_CONSTANT = Aim(">=", 0.8)
_FAR_FROM_GLANCE = Aim(">=", 30.0)


class _Compared(NamedTuple):
    """What a kind of backend is held against."""

    against: str
    aim: Aim | None = None


_COMPARISONS: Mapping[str, Sequence[_Compared]] = {
    FILE: (
        _Compared(_CONSTANT, _NEAR_CONSTANT),
        _Compared(GLANCE, _FAR_FROM_GLANCE),
        _Compared(NGINX),
    ),
    HTTP: (_Compared(_CONSTANT), _Compared(GLANCE), _Compared(NGINX)),
    SWIFT: (_Compared(_CONSTANT), _Compared(GLANCE), _Compared(SWIFT_ITSELF)),
}


def measure(workplace: Workplace, effort: Effort) -> Iterator[Figure]:
    """All figures; all servers of a kind run at once, and one at a time is loaded."""
    others = workplace.upstreams
    workplace.settle()
    for name in _SERVERS:
        with ExitStack() as stack:
            sides = dict(others.straight)
            if name != servers.UWSGI:
                del sides[GLANCE]  # it runs under uWSGI
            for kind, config in others.configs.items():
                served = stack.enter_context(servers.imageapi(name, config))
                sides[kind] = ours(served)
            model = sides[FILE]
            served = stack.enter_context(
                servers.constant(name, model.server, model.small, workplace.folder)
            )
            sides[_CONSTANT] = ours(served)
            for method in _METHODS:
                for connections in _CONNECTIONS:
                    case = f"{name}, {method}, {connections} conn"
                    yield from _figures(case, _numbers(sides, method, connections, effort))


def _numbers(
    sides: Mapping[str, Side], method: str, connections: int, effort: Effort
) -> Mapping[str, Numbers]:
    wanted = {name for kind in _COMPARISONS for name in (kind, *_others(kind))}
    asked = {
        name: (side.server, _questions(name, side, method))
        for name, side in sides.items()
        if name in wanted
    }
    return take_turns(asked, connections, effort)


def _others(kind: str) -> Iterator[str]:
    return (compared.against for compared in _COMPARISONS[kind])


def _questions(name: str, side: Side, method: str) -> load.Questions:
    if (name, method) == (GLANCE, "HEAD"):
        # v2 has no HEAD: what its clients ask instead are the details.
        return load.questions([side.small.removesuffix("/file")], None)
    return load.questions([side.small], SMALL_SIZE, method)


def _figures(case: str, numbers: Mapping[str, Numbers]) -> Iterator[Figure]:
    by_field: dict[str, dict[str, list[float]]] = defaultdict(dict)
    for name, one in numbers.items():
        by_field["requests/s"][name] = one.rates
        by_field["server CPU us/request"][name] = one.server_cpu
    for kind, comparisons in _COMPARISONS.items():
        for compared in (one for one in comparisons if one.against in numbers):
            for unit, of in by_field.items():
                yield Figure(
                    name=f"{case}, {kind}",
                    unit=unit,
                    ours=of[kind],
                    theirs=of[compared.against],
                    against=compared.against,
                    aim=compared.aim if unit == "requests/s" else None,
                )
    yield Figure(
        name=f"{case}, load client",
        unit="% of a core",
        ours=numbers[FILE].client_busy,
        theirs=numbers[NGINX].client_busy,
        against=NGINX,
        judged=Judged.ITSELF,
    )
