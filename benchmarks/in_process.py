# SPDX-License-Identifier: Apache-2.0
"""What ImageAPI itself adds to a request: called in a loop, without any server."""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from statistics import median
from typing import Any
from wsgiref.types import WSGIApplication, WSGIEnvironment
from wsgiref.util import setup_testing_defaults

from benchmarks import records
from benchmarks.constant import constant
from benchmarks.effort import Effort
from benchmarks.figures import Aim, Figure, Judged
from benchmarks.image_ids import SMALL_SIZE, paths
from benchmarks.workplace import Workplace
from tests.deployment import Deployment

_LITTLE_ENOUGH = Aim("<", 25.0)

# Different requests before the first is made again.
_REQUESTS = 100_000


@dataclass
class _Side:
    """An application, the paths it is asked for, and microseconds a request by round."""

    application: WSGIApplication
    paths: Iterator[str]
    times: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class _Case:
    """imageapi over a deployment, beside a constant with the same answer."""

    name: str
    ours: _Side
    theirs: _Side


def measure(workplace: Workplace, effort: Effort) -> Iterator[Figure]:
    """All figures, in microseconds a request."""
    deployments = {name: workplace.small(*case) for name, case in records.cases(effort).items()}
    workplace.settle()
    with ExitStack() as stack:
        cases = [
            _case(name, deployments[name], paths(count, _REQUESTS), stack)
            for name, (count, _) in records.cases(effort).items()
        ]
        for case in cases:
            _take_turns(case, effort.calls)
            case.ours.times.clear()
            case.theirs.times.clear()
        for _ in range(effort.rounds):
            for case in cases:
                _take_turns(case, effort.calls)
    for case in cases:
        yield _figure(case, "median", median, _LITTLE_ENOUGH)
        yield _figure(case, "least", min)


def _case(name: str, deployment: Deployment, wanted: Sequence[str], stack: ExitStack) -> _Case:
    ours = stack.enter_context(closing(deployment.api()))
    theirs = constant(*_answer(ours, wanted[0]))
    return _Case(
        name,
        _Side(ours, itertools.cycle(wanted)),
        _Side(theirs, itertools.cycle(wanted)),
    )


def _take_turns(case: _Case, calls: int) -> None:
    for side in (case.ours, case.theirs):
        side.times.append(_microseconds(side, calls))


def _microseconds(side: _Side, calls: int) -> float:
    """What a request takes, on average over so many calls."""
    environ = _environ()
    application = side.application
    started = time.perf_counter()
    for path in itertools.islice(side.paths, calls):
        _consume(application, {**environ, "PATH_INFO": path})
    return (time.perf_counter() - started) / calls * 1e6


def _consume(application: WSGIApplication, environ: WSGIEnvironment) -> None:
    """Do what a server does, with nobody listening."""
    body = application(environ, _start_response)
    for _ in body:
        pass
    close: Callable[[], object] | None = getattr(body, "close", None)
    if close is not None:
        close()


def _start_response(_status: str, _headers: object, _error: object = None) -> Callable[..., Any]:
    return bytes


def _environ() -> WSGIEnvironment:
    """A request as servers hand it on."""
    environ: WSGIEnvironment = {
        "QUERY_STRING": "",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_ACCEPT": "*/*",
        "HTTP_USER_AGENT": "benchmarks",
    }
    setup_testing_defaults(environ)
    return environ


def _answer(application: WSGIApplication, path: str) -> tuple[list[tuple[str, str]], bytes]:
    """The headers and the body of a 200."""
    told: list[Any] = []

    def start_response(status: str, headers: object, _error: object = None) -> Callable[..., Any]:
        told.extend((status, headers))
        return bytes

    body = b"".join(application({**_environ(), "PATH_INFO": path}, start_response))
    status, headers = told
    if status != "200 OK" or len(body) != SMALL_SIZE:
        raise RuntimeError(f"{path} was answered with {status}")
    return headers, body


def _figure(
    case: _Case, which: str, summary: Callable[[Sequence[float]], float], aim: Aim | None = None
) -> Figure:
    return Figure(
        name=f"{case.name}, {which}",
        unit="us/request",
        ours=case.ours.times,
        theirs=case.theirs.times,
        against="constant",
        judged=Judged.DIFFERENCE,
        summary=summary,
        aim=aim,
    )
