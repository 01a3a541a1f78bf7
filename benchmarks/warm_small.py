# SPDX-License-Identifier: Apache-2.0
"""Requests a second of a 1 KiB image that is kept, with its record, beside images in files."""

from collections.abc import Iterator
from contextlib import ExitStack

from benchmarks import load, servers
from benchmarks.caches import with_cache
from benchmarks.effort import Effort
from benchmarks.figures import Aim, Figure
from benchmarks.image_ids import SMALL_ID, SMALL_SIZE, path_of
from benchmarks.turns import take_turns
from benchmarks.upstreams import FILE, HTTP, SWIFT
from benchmarks.workplace import Workplace

_CONNECTIONS = (1, 16)
_AS_FILES = Aim(">=", 0.9)
_TTL = "record_ttl = 60\n"


def measure(workplace: Workplace, effort: Effort) -> Iterator[Figure]:
    """All figures, of GET and of each number of connections."""
    configs = dict(workplace.upstreams.configs)
    workplace.settle()
    folder = workplace.folder / "warm-small"
    folder.mkdir()
    for kind in (HTTP, SWIFT):
        section = f"[imageapi_registry_{kind}]\n"
        text = configs[kind].read_text().replace(section, section + _TTL)
        configs[kind] = folder / f"{kind}.conf"
        configs[kind].write_text(with_cache(text, folder / f"cache-{kind}"))
    asked = load.questions([path_of(SMALL_ID)], SMALL_SIZE)
    with ExitStack() as stack:
        sides = {
            kind: (stack.enter_context(servers.imageapi(servers.GUNICORN, config)), asked)
            for kind, config in configs.items()
        }
        for connections in _CONNECTIONS:
            numbers = take_turns(sides, connections, effort)
            for kind in (HTTP, SWIFT):
                yield Figure(
                    name=f"GET, {connections} conn, {kind}, record and data kept",
                    unit="requests/s",
                    ours=numbers[kind].rates,
                    theirs=numbers[FILE].rates,
                    against=FILE,
                    aim=_AS_FILES,
                )
