# SPDX-License-Identifier: Apache-2.0
"""The commands of examples/imageapi.service work, as far as a test without systemd can show."""

import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.deployment import Deployment
from tests.functional.http_client import connection
from tests.functional.raw_server import RawServer, Request
from tests.functional.servers import Running, free_port, running
from tests.functional.system_calls import analyze, settings_of
from tests.functional.test_reload import uri_of
from tests.functional.waiting import becomes_true
from tests.functional.wsgi_servers import replaced
from tests.paths import BIN, EXAMPLES

UNIT = EXAMPLES / "imageapi.service"

# systemd 252 gives 1.2; versions may weigh differently.
HIGHEST_EXPOSURE = 2.0


def place(command: str, *changes: tuple[str, str]) -> list[str]:
    """A command of the unit, where the package is on this machine."""
    return replaced(command, *changes).replace("/opt/imageapi/bin", str(BIN)).split()


def run_reload(process: int, environ: dict[str, str]) -> int:
    """Run the commands of a reload as systemd does: the first that fails is the last."""
    for command in settings_of(UNIT)["ExecReload"]:
        words = place(command.replace("$MAINPID", str(process)))
        done = subprocess.run(
            words, env={**os.environ, **environ}, capture_output=True, timeout=60, check=False
        )
        if done.returncode:
            return done.returncode
    return 0


def _send_data(_: Request, upstream: socket.socket) -> None:
    upstream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndata")


@pytest.fixture
def filtered(deployment: Deployment) -> list[str]:
    """What precedes a command, so that it runs with the system calls of the unit."""
    return [sys.executable, "-m", "tests.functional.system_calls", str(UNIT)]


def test_service(deployment: Deployment, tmp_path: Path, filtered: list[str]) -> None:
    """It starts, answers, fills a cache, reloads and stops, with the unit's system calls only."""
    deployment.add("small", b"data")
    stack = ExitStack()
    upstream = stack.enter_context(RawServer(_send_data)).url.replace("127.0.0.1", "localhost")
    md5 = hashlib.md5(b"data", usedforsecurity=False).hexdigest()
    deployment.record("far", size=4, checksum=md5, location=f"{upstream}/far")
    cache = tmp_path / "cache"
    cache.mkdir()
    port = free_port()
    more = (
        f"[imageapi_store_upstream]\nallowed_urls = {upstream}\n"
        f"[imageapi_cache]\ndirectory = {cache}\n"
        f"[imageapi_serve]\nbind = 127.0.0.1:{port}\nworkers = 2\n"
    )
    core = "stores = file, upstream:http\n"
    deployment.configure(core, more)
    settings = settings_of(UNIT)
    assert settings["Type"] == ["notify"]
    (start,) = (place(command) for command in settings["ExecStart"])
    assert start[1:] == ["serve"], "a flag would win over the file"
    name, _, path = settings["Environment"][0].partition("=")
    assert path == "/etc/imageapi/imageapi.conf"
    with stack, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(30)
        manager.bind(str(tmp_path / "notify"))
        environ = {name: str(deployment.config_file), "NOTIFY_SOCKET": str(tmp_path / "notify")}
        log = tmp_path / "output.log"
        with running([*filtered, *start], port, log, environ, EXAMPLES.parent) as process:
            assert manager.recv(1000).startswith(b"READY=1\n")
            server = Running(port, process)
            assert uri_of(server).startswith("http://127.0.0.1:")
            for image_id in ("small", "far"):
                with connection(port) as client:
                    client.request("GET", f"/v1/images/{image_id}")
                    assert client.getresponse().read() == b"data"
            assert becomes_true(lambda: any(path.name.endswith(".4") for path in cache.iterdir()))
            deployment.configure(f"{core}public_endpoint = not a URL", more)
            assert run_reload(process.pid, environ) != 0
            assert "HUP" not in log.read_text()
            deployment.configure(f"{core}public_endpoint = http://new.example", more)
            assert run_reload(process.pid, environ) == 0
            assert becomes_true(lambda: uri_of(server).startswith("http://new.example"))
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0


def test_filter_of_the_test_is_in_force(filtered: list[str]) -> None:
    """Else test_service would show nothing."""
    code = "import mmap, os, socket\n"
    attempts = ("os.chroot('/')", "os.nice(1)", "mmap.mmap(-1, 4096, prot=7)")
    for attempt in (*attempts, "socket.socket(socket.AF_NETLINK)"):
        code += f"try:\n    {attempt}\nexcept PermissionError:\n    print('refused')\n"
    done = subprocess.run(
        [*filtered, sys.executable, "-c", code],
        cwd=EXAMPLES.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("refused\n" * 4, "")


def test_exposure() -> None:
    done = analyze("--offline=true", "security", str(UNIT))
    found = re.search(r"Overall exposure level for imageapi.service: ([0-9.]+) ", done.stdout)
    assert found is not None, done.stderr
    assert float(found.group(1)) <= HIGHEST_EXPOSURE


def test_systemd_knows_all_settings(tmp_path: Path) -> None:
    """It ignores a misspelt one, with a warning."""
    text = UNIT.read_text().replace("/opt/imageapi/bin/imageapi", "/bin/true")
    for unit, known in ((text, True), (text.replace("ProtectProc=", "ProtectProcs="), False)):
        (tmp_path / "imageapi.service").write_text(unit)
        done = analyze("--man=no", "verify", "imageapi.service", folder=tmp_path)
        ours = [line for line in done.stderr.splitlines() if "imageapi.service" in line]
        assert (ours == []) == known, done.stderr
