# SPDX-License-Identifier: Apache-2.0
"""``systemctl`` of a `machine.Machine`: does with its folder what systemd does with a machine."""

import os
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil

from tests.functional.system_calls import settings_of

MACHINE = Path(os.environ["MACHINE"])
UNIT = MACHINE / "etc" / "systemd" / "system" / "imageapi.service"
PID = MACHINE / "run" / "imageapi.pid"


def start() -> None:
    """Start the service, and wait until it says that it is ready (Type=notify)."""
    settings = settings_of(UNIT)
    name, _, value = settings["Environment"][0].partition("=")
    notify = MACHINE / "run" / "notify"
    notify.unlink(missing_ok=True)
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
        (MACHINE / "journal").open("ab") as journal,
    ):
        manager.settimeout(200)
        manager.bind(str(notify))
        process = subprocess.Popen(
            shlex.split(settings["ExecStart"][0]),
            env={**os.environ, name: value, "NOTIFY_SOCKET": str(notify)},
            stdin=subprocess.DEVNULL,
            stdout=journal,
            stderr=journal,
            start_new_session=True,
        )
        PID.write_text(str(process.pid))
        assert manager.recv(1000).startswith(b"READY=1\n")


def stop() -> None:
    process = psutil.Process(int(PID.read_text()))
    process.terminate()
    # Nobody may wait for it here: then it stays a zombie.
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.1)
    PID.unlink()


def reload() -> None:
    """Run the commands of the unit; the first that fails is the last."""
    for command in settings_of(UNIT)["ExecReload"]:
        subprocess.run(shlex.split(command.replace("$MAINPID", PID.read_text())), check=True)


def reload_nginx() -> None:
    """Debian starts nginx when it is installed; here it starts now."""
    pid = MACHINE / "run" / "nginx.pid"  # nginx -t makes an empty one
    words = ["-s", "reload"] if pid.exists() and pid.read_text() else []
    subprocess.run(["nginx", *words], check=True)


def main(words: str) -> None:
    if words == "enable --now imageapi":
        start()
    elif words == "restart imageapi":
        stop()
        start()
    elif words == "reload imageapi":
        reload()
    elif words == "reload nginx":
        reload_nginx()
    else:
        assert words in {"daemon-reload", "restart systemd-journald"}, words


if __name__ == "__main__":
    main(" ".join(sys.argv[1:]))
