# SPDX-License-Identifier: Apache-2.0
"""Real servers over real sockets, on loopback, stopped when the test ends."""

import contextlib
import http.client
import os
import secrets
import socket
import ssl
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil

from tests.functional.http_client import connection
from tests.functional.waiting import becomes_true
from tests.paths import BIN


def free_port() -> int:
    """A port of loopback that nothing listens on.

    The kernel hands out other ports, and other workers of pytest-xdist choose other ports. So
    the port is still free when the server starts.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    while True:
        port = secrets.choice(range(10_000 + worker, 32_768, workers))
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port


@contextmanager
def running(
    command: Sequence[str],
    port: int,
    log: Path,
    environ: dict[str, str] | None = None,
    folder: Path | None = None,
    seconds: float = 60,
) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a server, wait until it listens on its port, and stop it when the block ends.

    :param seconds: how long it may take to listen.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **(environ or {})},
        )
        try:
            _wait_for(process, port, log, seconds)
            yield process
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise


def _wait_for(process: "subprocess.Popen[bytes]", port: int, log: Path, seconds: float) -> None:
    def listens() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended at once: {log.read_text()}")
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", port)) == 0

    if not becomes_true(listens, seconds):
        raise RuntimeError(f"the server does not listen: {log.read_text()}")


class Running(NamedTuple):
    """A server that runs.

    :ivar process: its first process.
    :ivar tls: trusts the server's certificate; None if it speaks no TLS.
    """

    port: int
    process: "subprocess.Popen[bytes]"
    tls: ssl.SSLContext | None = None

    def connection(self) -> AbstractContextManager[http.client.HTTPConnection]:
        """A client's connection to it."""
        return connection(self.port, self.tls)

    def children(self) -> list[psutil.Process]:
        """The processes that the first one has started: its workers."""
        return psutil.Process(self.process.pid).children()

    def open_on(self, path: Path) -> int:
        """How many descriptors its processes have open on a file."""
        first = psutil.Process(self.process.pid)
        return sum(_descriptors(one, path) for one in (first, *first.children(recursive=True)))


def _descriptors(process: psutil.Process, path: Path) -> int:
    found = 0
    for descriptor in Path(f"/proc/{process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found += os.readlink(descriptor) == str(path)
    return found


@contextmanager
def running_imageapi(
    config_file: Path, *arguments: str, program: Sequence[str] = (str(BIN / "imageapi"),)
) -> Iterator[Running]:
    """``imageapi serve`` over a configuration; it logs beside it, into ``server.log``.

    :param arguments: more arguments of ``serve``.
    :param program: what runs instead of the command ``imageapi``.
    """
    port = free_port()
    command = [*program, "--config-file", str(config_file), "serve", "--port", str(port)]
    with running([*command, *arguments], port, config_file.parent / "server.log") as process:
        yield Running(port, process)


@contextmanager
def serving(config_file: Path, *arguments: str) -> Iterator[int]:
    """The same; yields only the port."""
    with running_imageapi(config_file, *arguments) as server:
        yield server.port
