# SPDX-License-Identifier: Apache-2.0
"""Real servers over real sockets, on loopback, stopped when the test ends."""

import contextlib
import http.client
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.paths import BIN


def free_port() -> int:
    """A port of loopback that nothing listens on.

    It is none of those that the kernel hands out, and none that another worker of pytest-xdist
    chooses: nobody takes it before the server that it is for does.
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
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a server until the block ends; wait until it listens on its port."""
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
            _wait_for(process, port, log)
            yield process
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise


def _wait_for(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended at once: {log.read_text()}")
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"the server does not listen: {log.read_text()}")


@contextmanager
def serving(config_file: Path, *arguments: str) -> Iterator[int]:
    """``imageapi serve`` over a configuration; yields its port."""
    port = free_port()
    command = [str(BIN / "imageapi"), "--config-file", str(config_file)]
    command += ["serve", "--port", str(port), *arguments]
    with running(command, port, config_file.parent / "server.log"):
        yield port


@contextmanager
def connection(port: int) -> Iterator[http.client.HTTPConnection]:
    """A client's connection, closed at the end."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        yield client
    finally:
        client.close()
