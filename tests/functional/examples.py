# SPDX-License-Identifier: Apache-2.0
"""The examples, each run in a folder of its own by the command at its top."""

import http.client
import re
import shlex
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.functional import basic_auth
from tests.functional.http_client import (
    Answer,
    ask,
    begin,
    connect_with_small_buffer,
    connection,
)
from tests.functional.servers import free_port, running
from tests.functional.waiting import becomes_true
from tests.paths import BIN, EXAMPLES

_COMMAND = re.compile(r"^#? +((?:gunicorn|uvicorn) .*)$", re.MULTILINE)


def copy_example(example: str, folder: Path) -> list[str]:
    """Copy an example, a file or a folder, to a folder; returns the command to run it there.

    :param folder: is created.
    """
    source = EXAMPLES / example
    if source.is_dir():
        shutil.copytree(source, folder)
        described = folder / "api-paste.ini"
    else:
        folder.mkdir()
        described = Path(shutil.copy(source, folder))
    (command,) = _COMMAND.findall(described.read_text())
    return shlex.split(command)


@contextmanager
def run_example(
    command: list[str], folder: Path, environ: Mapping[str, str] | None = None, hooks: str = ""
) -> Iterator[tuple[int, "subprocess.Popen[bytes]"]]:
    """Run an example's command on a free port; yields the port and the process.

    :param hooks: more lines for gunicorn's configuration.
    """
    port = free_port()
    program, *words = command
    if program == "gunicorn":
        (folder / "gunicorn.conf.py").write_text(f'bind = "127.0.0.1:{port}"\n{hooks}')
    else:
        words += ["--port", str(port)]
    log = folder / "server.log"
    with running([str(BIN / program), *words], port, log, dict(environ or {}), folder) as process:
        yield port, process


@dataclass(frozen=True)
class RunningExample:
    """An example that runs: how clients ask it, and which images it has open.

    :ivar patience: how many seconds to wait for a state that comes soon.
    """

    port: int
    process: psutil.Process
    images: Path
    patience: float

    def ask(self, path: str, method: str = "GET", user: str = "", **headers: str) -> Answer:
        """The answer to a user, or to nobody, who sends what browsers and curl --compressed do."""
        if user:
            headers["Authorization"] = basic_auth.header_of(user)
        return ask(self.port, path, method, Accept_Encoding="gzip, deflate", **headers)

    @contextmanager
    def asking(self, path: str) -> Iterator[http.client.HTTPResponse]:
        """An answer whose body is not read yet, over a connection that takes little at once."""
        with connection(self.port) as client:
            connect_with_small_buffer(client)
            with begin(client, path, Accept_Encoding="gzip, deflate") as response:
                yield response

    def leave(self, path: str, method: str) -> None:
        """Send a request, and close the connection without looking at the answer."""
        with self._sent(path, method):
            pass

    def raw(self, path: str, method: str) -> bytes:
        """All that comes over the connection."""
        with self._sent(path, method) as sock:
            return b"".join(iter(lambda: sock.recv(1 << 20), b""))

    @contextmanager
    def _sent(self, path: str, method: str) -> Iterator[socket.socket]:
        host = f"127.0.0.1:{self.port}"
        head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as sock:
            sock.sendall(head.encode())
            yield sock

    def open_images(self) -> list[str]:
        """The images that the server's processes hold open."""
        processes = [self.process, *self.process.children(recursive=True)]
        files = [file.path for process in processes for file in process.open_files()]
        return [path for path in files if path.startswith(f"{self.images}/")]

    def holds_images(self, yes: bool) -> bool:
        """Whether it has images open (or none, if ``yes`` is false), now or soon."""
        return becomes_true(lambda: bool(self.open_images()) is yes, self.patience)
