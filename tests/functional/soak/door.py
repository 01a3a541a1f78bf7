# SPDX-License-Identifier: Apache-2.0
"""imageapi over ASGI or WSGI, and what its processes hold."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from tests.functional.servers import Running, free_port, running, running_imageapi
from tests.paths import BIN, EXAMPLES

WORKERS = 2
THREADS = 12

_MIB = 2**20


@contextmanager
def running_door(door: str, config_file: Path) -> Iterator[Running]:
    """Run ``serve``, or ``gunicorn`` as docs/production.md says. The log is ``server.log``."""
    size = ("--workers", str(WORKERS), "--threads", str(THREADS))
    if door == "serve":
        with running_imageapi(config_file, *size) as server:
            yield server
        return
    port = free_port()
    command = [str(BIN / "gunicorn"), "--config", str(EXAMPLES / "gunicorn.conf.py")]
    command += ["--bind", f"127.0.0.1:{port}", *size]
    environ = {"IMAGEAPI_CONFIG_FILE": str(config_file)}
    with running(command, port, config_file.parent / "server.log", environ) as process:
        yield Running(port, process)


class Resources(NamedTuple):
    """What the server holds while no client asks; each is the sum over its processes.

    :ivar descriptors: without connections to upstreams.
    :ivar memory: MiB.
    :ivar cached: bytes of the files in the cache.
    :ivar unfinished: files of the cache that are not complete.
    """

    processes: int
    descriptors: int
    connections: int
    threads: int
    memory: int
    cached: int
    unfinished: int


#: How much more the server may hold after a round than after an earlier one: threads and
#: buffers that only the later one needed.
MAY_GROW = Resources(0, 6 * WORKERS, 0, 2 * THREADS * WORKERS, 64 * WORKERS, 0, 0)


def held_by(server: Running, ports: set[int], cache: Path) -> Resources:
    """What a server holds.

    :param ports: those of the upstreams.
    :param cache: the folder of its cache, which may be missing.
    """
    first = psutil.Process(server.process.pid)
    processes = [first, *first.children(recursive=True)]
    connections = sum(len(_upstream(one, ports)) for one in processes)
    files = [one for one in cache.glob("*") if one.is_file()]
    return Resources(
        len(processes),
        sum(one.num_fds() for one in processes) - connections,
        connections,
        sum(one.num_threads() for one in processes),
        sum(one.memory_full_info().uss for one in processes) // _MIB,
        sum(_size(one) for one in files if ".ok" not in one.suffix),
        sum(one.suffix == ".part" for one in files),
    )


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):  # removed meanwhile
        return path.stat().st_size
    return 0


def _upstream(process: psutil.Process, ports: set[int]) -> list[object]:
    connections = process.net_connections("tcp")
    return [one for one in connections if one.raddr and one.raddr.port in ports]
