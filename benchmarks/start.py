# SPDX-License-Identifier: Apache-2.0
"""How long the package, the command and the server take to start, in new processes."""

import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager

from benchmarks import load, servers
from benchmarks.effort import Effort
from benchmarks.figures import Aim, Figure
from benchmarks.image_ids import SMALL_ID, SMALL_SIZE, path_of
from benchmarks.pages import milliseconds
from benchmarks.servers import Served
from benchmarks.workplace import Workplace
from tests.paths import BIN

_NOTHING = "python -c pass"
_LIBRARIES = "import of webob"
_CONSTANT = "constant"

# What is compared with what, and the aim for imageapi by itself.
_COMPARED = {
    "import imageapi": (_NOTHING, Aim("<", 100.0)),
    "imageapi --help": (_NOTHING, Aim("<", 150.0)),
    "imageapi show": (_LIBRARIES, None),
    "serve, until its first response": (_CONSTANT, None),
}


def measure(workplace: Workplace, effort: Effort) -> Iterator[Figure]:
    """All figures; a round starts everything once, and a first one does not count."""
    config_file = workplace.small().config_file
    command = str(BIN / "imageapi")
    workplace.settle()
    with servers.imageapi(servers.GUNICORN, config_file) as model:
        path = path_of(SMALL_ID)
        folder = config_file.parent
        starts: Mapping[str, Callable[[], float]] = {
            _NOTHING: lambda: _until_end([sys.executable, "-c", "pass"]),
            "import imageapi": lambda: _until_end([sys.executable, "-c", "import imageapi"]),
            "imageapi --help": lambda: _until_end([command, "--help"]),
            _LIBRARIES: lambda: _until_end([sys.executable, "-c", "import webob"]),
            "imageapi show": lambda: _until_end(
                [command, "--config-file", str(config_file), "show", SMALL_ID]
            ),
            _CONSTANT: lambda: _until_response(
                servers.constant(servers.GUNICORN, model, path, folder)
            ),
            "serve, until its first response": lambda: _until_response(
                servers.imageapi(servers.GUNICORN, config_file)
            ),
        }
        taken: dict[str, list[float]] = defaultdict(list)
        for _ in range(1 + effort.rounds):
            for name, start in starts.items():
                taken[name].append(start())
    for name, (other, aim) in _COMPARED.items():
        ours, theirs = taken[name][1:], taken[other][1:]
        yield Figure(name=name, unit="ms", ours=ours, theirs=theirs, against=other)
        if aim is not None:
            yield milliseconds(name, ours, aim)


def _until_end(command: Sequence[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return 1000 * (time.perf_counter() - started)


def _until_response(server: AbstractContextManager[Served]) -> float:
    started = time.perf_counter()
    with server as served:
        load.download(served.port, path_of(SMALL_ID), SMALL_SIZE)
        return 1000 * (time.perf_counter() - started)
