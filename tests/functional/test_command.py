# SPDX-License-Identifier: Apache-2.0
"""The command as a process: its output, its signals, and the files that it leaves."""

import contextlib
import os
import pty
import signal
import socket
import subprocess
import termios
import time
from pathlib import Path

import pytest

from tests.deployment import Deployment
from tests.functional.http_client import ask, begin
from tests.functional.servers import running_imageapi
from tests.functional.waiting import becomes_true, wait_until
from tests.paths import BIN

COMMAND = str(BIN / "imageapi")


def test_demo() -> None:
    done = subprocess.run([COMMAND, "demo"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "< HTTP/1.1 200 OK" in done.stdout
    assert "< X-Image-Meta-Property-Distro: Ubuntu 10.04 LTS" in done.stdout
    assert done.stdout.endswith("The checksums match.\n")


def adding(deployment: Deployment) -> "subprocess.Popen[bytes]":
    """``imageapi add -`` that has written some data, and waits for more."""
    process = subprocess.Popen(
        [
            COMMAND,
            "--config-file",
            str(deployment.config_file),
            "add",
            "-",
            "--id",
            "i",
            "--public",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(b"x" * 5_000_000)
    process.stdin.flush()
    wait_until(lambda: writes(process.pid, deployment.images), "nothing is written")
    return process


def writes(pid: int, folder: Path) -> bool:
    """Whether a process has a file of a folder open, with some bytes in it."""
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            path = os.readlink(descriptor)
            if path.startswith(f"{folder}/") and descriptor.stat().st_size > 1_000_000:
                return True
    return False


@pytest.mark.usefixtures("heeded_signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_add_that_is_interrupted_leaves_nothing(deployment: Deployment, number: int) -> None:
    process = adding(deployment)
    process.send_signal(number)
    _, error = process.communicate(timeout=20)
    if number != signal.SIGKILL:
        assert process.returncode == 1
        assert error == b"imageapi: interrupted\n"
    assert os.listdir(deployment.images) == os.listdir(deployment.registry) == []


def test_add_shows_progress_on_a_terminal_only(deployment: Deployment) -> None:
    source = deployment.folder / "disk.raw"
    source.write_bytes(b"x" * 3_000_000)
    command = [
        COMMAND,
        "--config-file",
        str(deployment.config_file),
        "add",
        str(source),
        "--public",
    ]
    done = subprocess.run(command, capture_output=True, timeout=20)
    assert (done.returncode, done.stderr) == (0, b"")
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, timeout=20)
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # the terminal ends when its last writer has ended
            while chunk := terminal.read(10_000):
                shown += chunk
    assert done.returncode == 0
    assert b"100%" in shown
    assert b"3.00M/3.00M" in shown


def test_serve_that_cannot_listen_says_so(deployment: Deployment) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [COMMAND, "--config-file", str(deployment.config_file), "serve", "--port", str(port)],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode != 0
    assert "in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_serve_reads_the_configuration_again_at_sighup(deployment: Deployment) -> None:
    deployment.add("i", b"data")
    with running_imageapi(deployment.config_file, "--workers", "2") as server:
        assert uri_from_head(server.port).startswith("http://127.0.0.1:")
        deployment.configure(core="public_endpoint = http://new.example")
        server.process.send_signal(signal.SIGHUP)
        assert becomes_true(lambda: uri_from_head(server.port) == "http://new.example/v1/images/i")


def test_configuration_that_is_refused_at_sighup_changes_nothing(deployment: Deployment) -> None:
    data = os.urandom(50_000_000)
    deployment.add("i", data)
    log = deployment.folder / "server.log"
    with running_imageapi(deployment.config_file) as server, server.connection() as client:
        download = begin(client, "/v1/images/i")
        start = download.read(1_000_000)
        workers = server.children()
        deployment.configure(core="registry = flie")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "stays in force" in log.read_text(), "nothing is refused")
        time.sleep(1)  # time in which new workers would start
        assert server.children() == workers
        assert start + download.read() == data
        assert uri_from_head(server.port).startswith("http://127.0.0.1:")
    assert "configuration: [imageapi] registry: no installed" in log.read_text()
    assert "Traceback" not in log.read_text()


def uri_from_head(port: int) -> str:
    """The image's URI; empty if a worker that ends has reset the connection."""
    with contextlib.suppress(ConnectionError):
        return ask(port, "/v1/images/i", "HEAD").headers.get("X-Image-Meta-Uri", "")
    return ""
