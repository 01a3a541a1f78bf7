# SPDX-License-Identifier: Apache-2.0
"""Requests a second of `imageapi serve`, beside the WSGI door under gunicorn's threads."""

from collections.abc import Iterator
from contextlib import ExitStack

from benchmarks import load, servers
from benchmarks.effort import Effort
from benchmarks.figures import Aim, Figure
from benchmarks.image_ids import SMALL_ID, SMALL_SIZE, path_of
from benchmarks.turns import take_turns
from benchmarks.workplace import Workplace

_AIMS = {("GET", 16): Aim(">=", 1.5)}


def measure(workplace: Workplace, effort: Effort) -> Iterator[Figure]:
    """All figures, of GET and HEAD on each number of connections."""
    config_file = workplace.small().config_file
    workplace.settle()
    with ExitStack() as stack:
        asgi = stack.enter_context(servers.imageapi(servers.GUNICORN, config_file))
        wsgi = stack.enter_context(servers.threads(config_file))
        for method in ("GET", "HEAD"):
            asked = load.questions([path_of(SMALL_ID)], SMALL_SIZE, method)
            sides = {"serve": (asgi, asked), "threads": (wsgi, asked)}
            for connections in (1, 16):
                numbers = take_turns(sides, connections, effort)
                yield Figure(
                    name=f"{method}, {connections} conn, serve",
                    unit="requests/s",
                    ours=numbers["serve"].rates,
                    theirs=numbers["threads"].rates,
                    against="threads",
                    aim=_AIMS.get((method, connections)),
                )
