# SPDX-License-Identifier: Apache-2.0
"""A client that takes nothing loses its download in time; one that is slow does not.

Nor does it make the system hold much of the image for it.
"""

import http.client
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import psutil
import pytest

from tests.deployment import Deployment
from tests.functional.downloads import client
from tests.functional.wsgi_servers import (
    EXAMPLES,
    Running,
    behind_nginx,
    by_command,
    gunicorn,
    replaced,
    uwsgi,
)

DATA = os.urandom(1_000_000) * 50

SERVE = """\
from imageapi import cli, serve
serve.STALL_SECONDS = 2
raise SystemExit(cli.main())
"""


def impatient_gunicorn(deployment: Deployment) -> AbstractContextManager[Running]:
    config = deployment.folder / "impatient.conf.py"
    text = (EXAMPLES / "gunicorn.conf.py").read_text()
    config.write_text(replaced(text, ("300_000", "2_000")))
    return gunicorn("--config", str(config))(deployment)


# The examples, but for the time, which is two seconds.
SERVERS: dict[str, Callable[[Deployment], AbstractContextManager[Running]]] = {
    "serve": by_command(
        *(sys.executable, "-c", SERVE, "--config-file", "CONFIG", "serve", "--port", "PORT")
    ),
    "gunicorn": impatient_gunicorn,
    "uwsgi": uwsgi(("socket-timeout = 300", "socket-timeout = 2")),
    "nginx": behind_nginx(gunicorn(), ("send_timeout 300s", "send_timeout 2s")),
}


@contextmanager
def begun(server: Running) -> Iterator[http.client.HTTPResponse]:
    """A download of which a little was read, by a client that is sent little ahead."""
    with client(server) as connection:
        connection.connect()
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.request("GET", "/v1/images/image")
        with connection.getresponse() as response:
            assert response.read(100_000) == DATA[:100_000]
            yield response


@pytest.mark.parametrize("name", SERVERS)
def test_slow_client(name: str, deployment: Deployment) -> None:
    deployment.add("image", DATA)
    path = deployment.data_path("image")
    with SERVERS[name](deployment) as server, begun(server) as stalled, begun(server) as slow:
        assert server.open_on(path) == 2
        read = [DATA[:100_000]]
        while server.open_on(path) == 2 and len(read) < 45:
            read.append(slow.read(1_000_000))
            time.sleep(0.3)
        assert server.open_on(path) == 1
        read.append(slow.read())
        assert b"".join(read) == DATA
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            stalled.read()


@pytest.mark.parametrize("name", ["serve", "gunicorn"])
def test_little_is_held_for_a_slow_client(name: str, deployment: Deployment) -> None:
    deployment.configure(core="chunk_size = 65536")
    deployment.add("image", DATA)
    with SERVERS[name](deployment) as server, begun(server):
        read, before = 0, -1
        while read != before:
            time.sleep(0.5)
            before, read = read, reached(server, deployment.data_path("image"))
        # 128 KiB that it has not sent, what the client's system takes, and a chunk.
        assert 100_000 < read < 1_000_000


def reached(server: Running, path: Path) -> int:
    """The byte up to which the server has read a file that it has open once."""
    for process in psutil.Process(server.pid).children():
        for descriptor in Path(f"/proc/{process.pid}/fd").iterdir():
            if os.readlink(descriptor) == str(path):
                told = Path(f"/proc/{process.pid}/fdinfo/{descriptor.name}").read_text()
                return int(told.split()[1])
    raise AssertionError("it is not open")
