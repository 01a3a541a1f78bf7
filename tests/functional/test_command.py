# SPDX-License-Identifier: Apache-2.0
"""The command as a process: its output, its signals, what it leaves behind."""

import contextlib
import os
import pty
import signal
import socket
import subprocess
import termios
import time
from pathlib import Path

import psutil
import pytest

from tests.deployment import Deployment
from tests.functional.servers import BIN, connection, serving

COMMAND = str(BIN / "imageapi")


def test_demo() -> None:
    done = subprocess.run([COMMAND, "demo"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "< HTTP/1.1 200 OK" in done.stdout
    assert "< X-Image-Meta-Property-Distro: Ubuntu 10.04 LTS" in done.stdout
    assert done.stdout.endswith("The checksums match.\n")


def adding(deployment: Deployment) -> "subprocess.Popen[bytes]":
    """``imageapi add -`` that has read some, and waits for more."""
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
    wait_until_it_writes(process.pid, deployment.images)
    return process


def wait_until_it_writes(pid: int, folder: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                path = os.readlink(descriptor)
                if path.startswith(str(folder) + "/") and descriptor.stat().st_size > 1_000_000:
                    return
            except OSError:
                continue
        time.sleep(0.02)
    raise AssertionError("nothing is written")


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
        with contextlib.suppress(OSError):  # the terminal is gone with its last writer
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
    with serving(deployment.config_file, "--workers", "2") as port:
        assert uri_of(port).startswith("http://127.0.0.1:")
        deployment.configure(core="public_endpoint = http://new.example")
        os.kill(master_of(deployment.folder / "server.log"), signal.SIGHUP)
        assert "http://new.example/v1/images/i" in uris_until(port, "new.example")


def test_configuration_that_is_refused_at_sighup_changes_nothing(deployment: Deployment) -> None:
    data = os.urandom(50_000_000)
    deployment.add("i", data)
    log = deployment.folder / "server.log"
    with serving(deployment.config_file) as port, connection(port) as client:
        client.request("GET", "/v1/images/i")
        download = client.getresponse()
        start = download.read(1_000_000)
        master = master_of(log)
        workers = workers_of(master)
        deployment.configure(core="registry = flie")
        os.kill(master, signal.SIGHUP)
        deadline = time.monotonic() + 20
        while "stays in force" not in log.read_text() and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(1)  # in which new workers would be made
        assert workers_of(master) == workers
        assert start + download.read() == data
        assert uri_of(port).startswith("http://127.0.0.1:")
    assert "configuration: [imageapi] registry: no installed" in log.read_text()
    assert "Traceback" not in log.read_text()


def master_of(log: Path) -> int:
    """The process that told the log that it starts."""
    return int(log.read_text().split("[INFO] Starting gunicorn")[0].rsplit("[", 1)[1].split("]")[0])


def workers_of(master: int) -> list[int]:
    return sorted(child.pid for child in psutil.Process(master).children())


def uris_until(port: int, wanted: str) -> list[str]:
    """The answers until one has the text; a worker that ends may reset its connections."""
    uris: list[str] = []
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and wanted not in "".join(uris[-1:]):
        with contextlib.suppress(ConnectionError):
            uris.append(uri_of(port))
        time.sleep(0.1)
    return uris


def uri_of(port: int) -> str:
    with connection(port) as client:
        client.request("HEAD", "/v1/images/i")
        return client.getresponse().getheader("X-Image-Meta-Uri") or ""
