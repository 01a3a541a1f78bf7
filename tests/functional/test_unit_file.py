# SPDX-License-Identifier: Apache-2.0
"""The commands of examples/imageapi.service work, as far as a test without systemd can show."""

import configparser
import signal
import socket
import subprocess
from pathlib import Path

from tests.deployment import Deployment
from tests.functional.servers import Running, free_port, running
from tests.functional.test_reload import uri_of
from tests.functional.waiting import becomes_true
from tests.functional.wsgi_servers import replaced
from tests.paths import BIN, EXAMPLES


def test_service(deployment: Deployment, tmp_path: Path) -> None:
    deployment.add("small", b"data")
    unit = configparser.RawConfigParser()
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # as configparser's documentation says
    unit.read(EXAMPLES / "imageapi.service")
    service = unit["Service"]
    assert service["Type"] == "notify"
    port = free_port()
    start = replaced(service["ExecStart"], ("/opt/imageapi/bin", str(BIN)), ("9292", str(port)))
    name, _, path = service["Environment"].partition("=")
    assert path == "/etc/imageapi/imageapi.conf"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(30)
        manager.bind(str(tmp_path / "notify"))
        environ = {name: str(deployment.config_file), "NOTIFY_SOCKET": str(tmp_path / "notify")}
        with running(start.split(), port, tmp_path / "output.log", environ) as process:
            assert manager.recv(1000).startswith(b"READY=1\n")
            server = Running(port, process)
            assert uri_of(server).startswith("http://127.0.0.1:")
            deployment.configure(core="public_endpoint = http://new.example")
            reload = replaced(service["ExecReload"], ("$MAINPID", str(process.pid)))
            subprocess.run(reload.split(), check=True, timeout=10)
            assert becomes_true(lambda: uri_of(server).startswith("http://new.example"))
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
