# SPDX-License-Identifier: Apache-2.0
"""A client that takes nothing loses its download in time; one that is slow does not."""

import http.client
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

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
