# SPDX-License-Identifier: Apache-2.0
"""Requests a second with and without what is remembered of small files and of records."""

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from benchmarks import load, servers
from benchmarks.effort import Effort
from benchmarks.figures import Aim, Figure
from benchmarks.turns import take_turns
from benchmarks.workplace import Workplace
from tests.deployment import Deployment

_MIB = 1024 * 1024

# Less is not worth its lines.
_WORTH_IT = Aim(">=", 1.2)


class _Memory(NamedTuple):
    """Something that is remembered.

    :ivar without: the Python code that switches it off.
    :ivar sizes: of the images that are asked for, in bytes.
    """

    without: str
    sizes: tuple[int, ...]


_MEMORIES: Mapping[str, _Memory] = {
    "small files": _Memory(
        "from imageapi.backends.file import small_file_cache, store\n"
        "small_file_cache.LARGEST = store.LARGEST = 0\n",
        (4096, 65536),
    ),
    "views of records": _Memory(
        "from imageapi.download import image_view\nimage_view._REMEMBERED_BYTES = 0\n",
        (4096, _MIB),
    ),
}


def measure(workplace: Workplace, effort: Effort) -> Iterator[Figure]:
    """All figures, by files, of GET on 16 connections."""
    folder = workplace.folder / "remembered"
    folder.mkdir()
    deployment = Deployment(folder)
    sizes = {size for memory in _MEMORIES.values() for size in memory.sizes}
    for size in sizes:
        properties = {f"key {number}": f"value {number}" for number in range(8)}
        deployment.add(f"of-{size}", bytes(size), name="n", properties=properties)
    time.sleep(3)  # until the files' times are settled
    for server in (servers.GUNICORN, servers.UWSGI):
        for name, memory in _MEMORIES.items():
            yield from _measure(server, name, memory, deployment.config_file, effort)


def _measure(
    server: str, name: str, memory: _Memory, config_file: Path, effort: Effort
) -> Iterator[Figure]:
    with ExitStack() as stack:
        ours = stack.enter_context(servers.imageapi(server, config_file))
        without = stack.enter_context(servers.imageapi(server, config_file, before=memory.without))
        for size in memory.sizes:
            asked = load.questions([f"/v1/images/of-{size}"], size)
            numbers = take_turns({"with": (ours, asked), "without": (without, asked)}, 16, effort)
            yield Figure(
                name=f"{server}, {size // 1024} KiB, {name}",
                unit="requests/s",
                ours=numbers["with"].rates,
                theirs=numbers["without"].rates,
                against="without",
                aim=_WORTH_IT,
            )
